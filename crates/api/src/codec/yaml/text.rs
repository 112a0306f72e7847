//! In which style a string may stand: the analysis that YAML emitters make.

use super::scalar::{Meaning, is_base_sixty, resolve};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    Literal,
}

/// The style of a string in block context. A key must stand on one line.
pub(super) fn style(text: &str, is_key: bool) -> Style {
    let allowed = Allowed::of(text);
    let wanted = if text.contains('\n') {
        Style::Literal
    } else if resolve(text) == Meaning::Text && !is_base_sixty(text) {
        Style::Plain
    } else {
        Style::DoubleQuoted
    };
    match wanted {
        Style::Plain if allowed.plain => Style::Plain,
        Style::Plain if allowed.single_quoted => Style::SingleQuoted,
        Style::Literal if allowed.block && !is_key => Style::Literal,
        _ => Style::DoubleQuoted,
    }
}

struct Allowed {
    plain: bool,
    single_quoted: bool,
    block: bool,
}

impl Allowed {
    fn of(text: &str) -> Allowed {
        let chars: Vec<char> = text.chars().collect();
        let mut indicators = text.starts_with("---") || text.starts_with("...");
        let mut special = false;
        let (mut break_space, mut space_break) = (false, false);
        let mut before = None;
        for (i, &c) in chars.iter().enumerate() {
            let blank_before = before.is_none_or(is_blank);
            let blank_after = chars.get(i + 1).is_none_or(|c| is_blank(*c));
            indicators |= is_indicator(c, i == 0, blank_before, blank_after);
            special |= !is_printable(c);
            break_space |= c == ' ' && before.is_some_and(is_break);
            space_break |= is_break(c) && before == Some(' ');
            before = Some(c);
        }
        let edge = |c: Option<&char>| c.is_some_and(|c| *c == ' ' || is_break(*c));
        let edges = edge(chars.first()) || edge(chars.last());
        let lines = chars.iter().any(|c| is_break(*c));
        let spoiled = space_break || special;
        Allowed {
            plain: !(edges || break_space || spoiled || lines || indicators),
            single_quoted: !(break_space || spoiled),
            block: !(chars.is_empty() || chars.last() == Some(&' ') || spoiled),
        }
    }
}

/// Whether a character would be taken for syntax in block context.
fn is_indicator(c: char, first: bool, blank_before: bool, blank_after: bool) -> bool {
    match c {
        ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => first,
        '?' | '-' => first && blank_after,
        ':' => blank_after,
        '#' => first || blank_before,
        _ => false,
    }
}

pub(super) fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t' || is_break(c)
}

/// What the reference's emitter writes as it is. It knows nothing beyond the basic plane.
pub(super) fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && c != '\u{feff}'
}
