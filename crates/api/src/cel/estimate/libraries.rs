//! What the functions of Kubernetes' libraries may cost, without their arguments.

use super::*;

impl Coster<'_> {
    pub(super) fn library(
        &mut self,
        name: &str,
        target: Option<&IdedExpr>,
        args: &[IdedExpr],
    ) -> Option<Call> {
        match (name, target, args) {
            ("check", ..) => Call::of(Range::of(AUTHORIZATION)),
            ("url" | "jsonpatch.escapeKey", _, [of]) => {
                let size = self.size_or_unknown(of);
                Call::sized(size.factor(PER_CHARACTER), size)
            }
            ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", Some(target), _) => {
                Call::of(self.traversal(target))
            }
            ("lowerAscii" | "upperAscii" | "substring" | "trim", Some(target), _) => {
                let size = self.size_or_unknown(target);
                Call::sized(size.factor(PER_CHARACTER), size)
            }
            ("replace", Some(target), [from, to, ..]) => {
                let size = self.size_or_unknown(target);
                let made = replaced(size, self.size_or_unknown(from), self.size_or_unknown(to));
                Call::sized(size.factor(2.0 * PER_CHARACTER), made)
            }
            ("split", Some(target), _) => {
                let size = self.size_or_unknown(target);
                let limit = args.get(1).and_then(|arg| match &arg.expr {
                    Expr::Literal(LiteralValue::Int(n)) => Some(*n.inner() as u64),
                    _ => None,
                });
                let made = Range { min: 0, max: limit.unwrap_or(size.max) };
                Call::sized(size.factor(2.0 * PER_CHARACTER), made)
            }
            ("join", Some(target), _) => {
                let made = self.joined(target, args.first());
                Call::sized(made.factor(PER_CHARACTER), made)
            }
            ("find" | "findAll", Some(target), [pattern, ..]) => {
                let size = self.size_or_unknown(target);
                let text = size.plus(ONE).factor(PER_CHARACTER);
                let pattern = self.size_or_unknown(pattern).factor(PER_PATTERN_CHARACTER);
                Call::sized(text.times(pattern), Range { min: 0, max: size.max })
            }
            ("containsIP" | "containsCIDR", Some(_), [other, ..]) => {
                let mut cost = ADDRESS.plus(ADDRESS).factor(PER_CHARACTER);
                if name == "containsCIDR" {
                    cost = cost.plus(ADDRESS.factor(PER_CHARACTER)).plus(ONE);
                }
                if *self.ty(other) == Type::String {
                    cost = cost.plus(self.size_or_unknown(other).factor(PER_CHARACTER));
                }
                Call::of(cost)
            }
            ("validate", Some(_), [text, ..]) => {
                let text = self.size_or_unknown(text).factor(PER_CHARACTER);
                Call::of(text.factor(FORMAT_PATTERN_MAX * PER_PATTERN_CHARACTER))
            }
            ("ip", None, _) => None,
            (name, ..) if SMALL.contains(&name) => Call::of(ONE),
            ("_==_", _, [a, b]) => self.equality_of_opaque(a, b),
            _ => None,
        }
    }

    /// What is opaque is small, whatever it was made of.
    fn equality_of_opaque(&self, a: &IdedExpr, b: &IdedExpr) -> Option<Call> {
        match (self.ty(a), self.ty(b)) {
            (Type::Opaque(a), Type::Opaque(b)) if a == b => Call::of(match *a {
                "kubernetes.NamedFormat" => Range { min: 1, max: 64 }.factor(PER_CHARACTER),
                _ => ONE,
            }),
            _ => None,
        }
    }

    /// What comparing all the elements of a list costs, or going through a text.
    fn traversal(&mut self, target: &IdedExpr) -> Range {
        let size = self.size_or_unknown(target);
        let Type::List(of) = self.ty(target) else { return size.factor(PER_CHARACTER) };
        let is_text = matches!(**of, Type::String | Type::Bytes);
        let each = if is_text { ONE.plus(self.elements(target).factor(PER_CHARACTER)) } else { ONE };
        size.times(each)
    }

    /// How large the elements of a list are.
    fn elements(&self, list: &IdedExpr) -> Range {
        self.declared(&self.below(list, "@items")).unwrap_or(UNKNOWN)
    }

    fn joined(&mut self, list: &IdedExpr, separator: Option<&IdedExpr>) -> Range {
        let count = self.size_or_unknown(list);
        let mut size = match self.ty(list) {
            Type::List(_) => count.times(self.elements(list)),
            _ => Range::default(),
        };
        if let Some(separator) = separator {
            let between = Range { min: count.min.saturating_sub(1), max: count.max.saturating_sub(1) };
            size = size.plus(self.size_or_unknown(separator).times(between));
        }
        size
    }
}

/// How large a text becomes in which something is replaced.
fn replaced(text: Range, from: Range, to: Range) -> Range {
    let most = if from.min == 0 {
        (text.max.saturating_add(1), text.max)
    } else if to.max <= from.min {
        (0, text.max)
    } else {
        ((text.max as f64 / from.min as f64).ceil() as u64, 0)
    };
    let least = if from.max == 0 {
        (text.min.saturating_add(1), text.min)
    } else if from.max <= to.min {
        (0, text.min)
    } else {
        ((text.min as f64 / from.max as f64).ceil() as u64, 0)
    };
    Range { min: least.0, max: most.0 }.times(to).plus(Range { min: least.1, max: most.1 })
}
