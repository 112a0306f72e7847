//! A checked expression, as it is run.

use regex::Regex;

use super::functions::Function;
use super::types::Type;

/// One place of a checked expression. Comprehensions keep what they bind on a stack: [`Node::Local`] is a place on it.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
    Type(Type),
    /// What the environment declares.
    Variable(String),
    /// A variable of a policy, computed when it is first asked for.
    Lazy(String),
    Local(usize),
    /// As `Local`, for the last use of a value: it is taken off the stack, so that adding to it copies nothing.
    Take(usize),
    Select {
        operand: Box<Node>,
        field: String,
        how: Access,
    },
    Index {
        operand: Box<Node>,
        index: Box<Node>,
        how: Access,
    },
    Call {
        function: &'static Function,
        args: Vec<Node>,
    },
    /// `matches` of a pattern that is known beforehand: to read one takes as long as all else that a rule does.
    Matches {
        args: Vec<Node>,
        pattern: Regex,
    },
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    /// Its condition and both outcomes.
    Choice(Box<[Node; 3]>),
    /// Items; those that are marked are optional values, left out where there is none.
    List(Vec<(Node, bool)>),
    Map(Vec<(Node, Node, bool)>),
    Struct(String, Vec<(String, Node, bool)>),
    Fold(Box<Fold>),
    /// What never changes, and is worked out for nothing.
    Constant(Box<Node>),
}

/// How a member is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// It must be there.
    Plain,
    /// `?.`, `[?…]`: an optional value.
    Optional,
    /// `has()`
    Test,
}

#[derive(Debug)]
pub(super) struct Fold {
    pub range: Node,
    pub init: Node,
    /// Whether each step binds a key (or an index) and a value.
    pub has_two: bool,
    pub condition: Node,
    pub step: Node,
    pub result: Node,
}

impl Node {
    pub(super) fn is_constant(&self) -> bool {
        matches!(
            self,
            Node::Null
                | Node::Bool(_)
                | Node::Int(_)
                | Node::Uint(_)
                | Node::Double(_)
                | Node::String(_)
                | Node::Bytes(_)
                | Node::Type(_)
                | Node::Constant(_)
        )
    }
}
