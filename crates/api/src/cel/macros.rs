//! Reading an expression, and the macros beyond CEL's own: of two variables, and `sortBy`.

use std::sync::LazyLock;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr, SourceInfo,
};
use cel::parser::{Macro, MacroExprHelper};
use cel::{Env, ParseError, ParseErrors};

/// The name of what a comprehension collects.
pub(super) const RESULT: &str = "@result";

/// How deep brackets may be in each other, as in the reference.
const NESTING_MAX: u16 = 250;

pub(super) fn parse(source: &str) -> Result<(IdedExpr, SourceInfo), ParseErrors> {
    static ENV: LazyLock<Env> = LazyLock::new(|| {
        let mut env = Env::stdlib();
        for m in macros() {
            env.add_macro(m).expect("no two macros are for the same calls");
        }
        env
    });
    ENV.parser()
        .enable_optional_syntax(true)
        .enable_ident_escape_syntax(true)
        .max_recursion_depth(NESTING_MAX)
        .parse_with_source_info(source)
}

fn macros() -> Vec<Macro> {
    let two = |name: &'static str, arguments: usize, expand: fn(&mut Making<'_, '_>, Loop) -> IdedExpr| {
        Macro::receiver(name, arguments, move |helper, target, args| {
            let mut making = Making(helper);
            let given = Loop::take(&mut making, target, args)?;
            Ok(Some(expand(&mut making, given)))
        })
    };
    vec![
        two("all", 3, |m, l| m.quantified(l, true)),
        two("exists", 3, |m, l| m.quantified(l, false)),
        two("existsOne", 3, |m, l| m.exists_one(l)),
        two("exists_one", 3, |m, l| m.exists_one(l)),
        two("transformList", 3, |m, l| m.transform_list(l)),
        two("transformList", 4, |m, l| m.transform_list(l)),
        two("transformMap", 3, |m, l| m.transform_map(l)),
        two("transformMap", 4, |m, l| m.transform_map(l)),
        two("transformMapEntry", 3, |m, l| m.transform_map_entry(l)),
        two("transformMapEntry", 4, |m, l| m.transform_map_entry(l)),
        Macro::receiver("sortBy", 2, sort_by),
    ]
}

/// What a comprehension of two variables was called with.
struct Loop {
    range: IdedExpr,
    variables: [String; 2],
    filter: Option<IdedExpr>,
    body: IdedExpr,
}

impl Loop {
    fn take(
        making: &mut Making<'_, '_>,
        target: &mut Option<IdedExpr>,
        args: &mut Vec<IdedExpr>,
    ) -> Result<Loop, ParseError> {
        let first = making.simple_name(&args[0])?;
        let second = making.simple_name(&args[1])?;
        if first == second {
            return Err(making.0.new_error(args[1].id, format!("duplicate variable name: {second}")));
        }
        let body = args.pop().unwrap_or_default();
        let filter = if args.len() == 3 { args.pop() } else { None };
        Ok(Loop { range: target.take().unwrap_or_default(), variables: [first, second], filter, body })
    }
}

/// Makes nodes that stand where the macro was called.
struct Making<'h, 'a>(&'h mut MacroExprHelper<'a>);

impl Making<'_, '_> {
    fn simple_name(&self, expr: &IdedExpr) -> Result<String, ParseError> {
        match &expr.expr {
            Expr::Ident(name) if !name.starts_with('.') => Ok(name.clone()),
            _ => Err(self.0.new_error(expr.id, "argument must be a simple name")),
        }
    }

    fn node(&mut self, expr: Expr) -> IdedExpr {
        self.0.next_expr(expr)
    }

    fn result(&mut self) -> IdedExpr {
        self.name(RESULT)
    }

    fn name(&mut self, name: &str) -> IdedExpr {
        self.node(Expr::Ident(name.to_owned()))
    }

    fn bool(&mut self, value: bool) -> IdedExpr {
        self.node(Expr::Literal(LiteralValue::Boolean(value.into())))
    }

    fn int(&mut self, value: i64) -> IdedExpr {
        self.node(Expr::Literal(LiteralValue::Int(value.into())))
    }

    fn list(&mut self, items: Vec<IdedExpr>) -> IdedExpr {
        self.node(Expr::List(ListExpr::new(items)))
    }

    fn call(&mut self, name: &str, args: Vec<IdedExpr>) -> IdedExpr {
        self.node(Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args }))
    }

    fn method(&mut self, target: IdedExpr, name: &str, args: Vec<IdedExpr>) -> IdedExpr {
        self.node(Expr::Call(CallExpr { func_name: name.to_owned(), target: Some(Box::new(target)), args }))
    }

    /// A loop over a range; its filter, if any, decides whether a step is made.
    fn fold(
        &mut self,
        l: Loop,
        init: IdedExpr,
        condition: IdedExpr,
        step: IdedExpr,
        result: IdedExpr,
    ) -> IdedExpr {
        let [first, second] = l.variables;
        let loop_step = match l.filter {
            Some(filter) => {
                let unchanged = self.result();
                self.call("_?_:_", vec![filter, step, unchanged])
            }
            None => step,
        };
        self.node(Expr::Comprehension(Box::new(ComprehensionExpr {
            iter_range: l.range,
            iter_var: first,
            iter_var2: Some(second),
            accu_var: RESULT.to_owned(),
            accu_init: init,
            loop_cond: condition,
            loop_step,
            result,
        })))
    }

    /// `all` where the loop goes on while things are true, else `exists`.
    fn quantified(&mut self, mut l: Loop, all: bool) -> IdedExpr {
        let init = self.bool(all);
        let mut so_far = self.result();
        if !all {
            so_far = self.call("!_", vec![so_far]);
        }
        let condition = self.call("@not_strictly_false", vec![so_far]);
        let before = self.result();
        let body = std::mem::take(&mut l.body);
        let step = self.call(if all { "_&&_" } else { "_||_" }, vec![before, body]);
        let result = self.result();
        self.fold(l, init, condition, step, result)
    }

    fn exists_one(&mut self, mut l: Loop) -> IdedExpr {
        let (init, condition, before, one) = (self.int(0), self.bool(true), self.result(), self.int(1));
        l.filter = Some(std::mem::take(&mut l.body));
        let step = self.call("_+_", vec![before, one]);
        let (count, one) = (self.result(), self.int(1));
        let result = self.call("_==_", vec![count, one]);
        self.fold(l, init, condition, step, result)
    }

    fn transform_list(&mut self, mut l: Loop) -> IdedExpr {
        let (init, condition, before) = (self.list(Vec::new()), self.bool(true), self.result());
        let body = std::mem::take(&mut l.body);
        let item = self.list(vec![body]);
        let step = self.call("_+_", vec![before, item]);
        let result = self.result();
        self.fold(l, init, condition, step, result)
    }

    fn transform_map(&mut self, mut l: Loop) -> IdedExpr {
        let key = self.name(&l.variables[0].clone());
        let body = std::mem::take(&mut l.body);
        self.inserting(l, vec![key, body])
    }

    fn transform_map_entry(&mut self, mut l: Loop) -> IdedExpr {
        let body = std::mem::take(&mut l.body);
        self.inserting(l, vec![body])
    }

    fn inserting(&mut self, l: Loop, entry: Vec<IdedExpr>) -> IdedExpr {
        let init = self.node(Expr::Map(MapExpr::default()));
        let (condition, before) = (self.bool(true), self.result());
        let step = self.call("cel.@mapInsert", std::iter::once(before).chain(entry).collect());
        let result = self.result();
        self.fold(l, init, condition, step, result)
    }
}

/// `l.sortBy(v, key)`: sorted by the keys that a `map` makes.
fn sort_by(
    helper: &mut MacroExprHelper<'_>,
    target: &mut Option<IdedExpr>,
    args: &mut Vec<IdedExpr>,
) -> Result<Option<IdedExpr>, ParseError> {
    let mut making = Making(helper);
    let variable = making.simple_name(&args[0])?;
    let (range, body) = (target.take().unwrap_or_default(), args.pop().unwrap_or_default());
    let (init, condition, before) = (making.list(Vec::new()), making.bool(true), making.result());
    let item = making.list(vec![body]);
    let step = making.call("_+_", vec![before, item]);
    let result = making.result();
    let keys = making.node(Expr::Comprehension(Box::new(ComprehensionExpr {
        iter_range: range.clone(),
        iter_var: variable,
        iter_var2: None,
        accu_var: RESULT.to_owned(),
        accu_init: init,
        loop_cond: condition,
        loop_step: step,
        result,
    })));
    Ok(Some(making.method(range, "@sortByAssociatedKeys", vec![keys])))
}
