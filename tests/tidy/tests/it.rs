//! The house rules that no lint covers: module docs, lengths, names, `unsafe`, who may depend on whom.

use std::collections::BTreeMap;

use coracle_tidy::{Source, files, root, rust_sources};
use syn::spanned::Spanned;
use syn::visit::Visit;

/// A function that needs more has more than one job.
const FUNCTION_LINES_MAX: usize = 70;
/// A file that needs more has more than one subject.
const FILE_LINES_MAX: usize = 600;

/// Files that are lists: one row after another, however many there are.
const TABLES: &[&str] = &["crates/api/src/kinds.rs"];

/// Who may know whom. A new edge is a reviewed row here; DESIGN in one line: `api` knows nobody, parts that are API
/// clients know `api` and `kube`, only `coracle` knows everybody.
const EDGES: &[(&str, &[&str])] = &[
    ("coracle-api", &[]),
    ("coracle-clock", &[]),
    ("coracle-store", &["coracle-api", "coracle-clock"]),
    ("coracle-auth", &["coracle-api", "coracle-clock"]),
    ("coracle-apiserver", &["coracle-api", "coracle-auth", "coracle-clock", "coracle-store"]),
    ("coracle-controllers", &["coracle-api", "coracle-clock"]),
    ("coracle-scheduler", &["coracle-api", "coracle-clock"]),
    ("coracle-runtime", &["coracle-api", "coracle-clock"]),
    ("coracle-net", &["coracle-api", "coracle-clock"]),
    ("coracle-kubelet", &["coracle-api", "coracle-clock", "coracle-runtime"]),
    ("coracle-apiproxy", &["coracle-clock"]),
    // `kubectl proxy` is the sidecar's own code.
    ("coracle-cli", &["coracle-apiproxy", "coracle-clock"]),
    ("coracle-testkit", &[]),
    ("coracle-testkit-etcd", &[]),
    ("coracle-e2e", &["coracle-testkit", "coracle-testkit-etcd"]),
    // What reads what others send, and nothing that runs.
    (
        "coracle-fuzz",
        &[
            "coracle-api",
            "coracle-apiserver",
            "coracle-auth",
            "coracle-clock",
            "coracle-kubelet",
            "coracle-runtime",
        ],
    ),
    ("coracle-tidy", &[]),
    ("xtask", &[]),
];

/// Parts of the control plane never speak to the API but through it.
const NO_KUBE: &[&str] =
    &["coracle-api", "coracle-clock", "coracle-store", "coracle-auth", "coracle-runtime"];

#[track_caller]
fn expect_none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn every_file_says_what_it_is_responsible_for() {
    let silent = rust_sources().into_iter().filter(|s| !s.text.starts_with("//! "));
    expect_none("files without a leading `//!` line", silent.map(|s| s.path).collect());
}

#[test]
fn no_file_is_too_long() {
    let long = rust_sources().into_iter().filter(|s| !s.is_test() && !TABLES.contains(&s.path.as_str()));
    let long = long.filter(|s| s.lines_without_tests() > FILE_LINES_MAX);
    let told = long.map(|s| format!("{} has {} lines", s.path, s.lines_without_tests())).collect();
    expect_none("files that are too long", told);
}

#[derive(Default)]
struct Functions {
    long: Vec<String>,
    unsafe_code: usize,
    should_panic: usize,
    ignored: usize,
}

impl Functions {
    fn measure(&mut self, name: &syn::Ident, span: proc_macro2::Span) {
        let lines = span.end().line - span.start().line + 1;
        if lines > FUNCTION_LINES_MAX {
            self.long.push(format!("{name} has {lines} lines"));
        }
    }
}

fn is_test_module(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|a| {
        a.path().is_ident("cfg") && a.meta.require_list().is_ok_and(|l| l.tokens.to_string() == "test")
    })
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test_module(&module.attrs) {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, f: &'ast syn::ItemFn) {
        self.measure(&f.sig.ident, f.block.span());
        syn::visit::visit_item_fn(self, f);
    }

    fn visit_impl_item_fn(&mut self, f: &'ast syn::ImplItemFn) {
        self.measure(&f.sig.ident, f.block.span());
        syn::visit::visit_impl_item_fn(self, f);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.unsafe_code += 1;
        syn::visit::visit_expr_unsafe(self, block);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        self.should_panic += usize::from(attribute.path().is_ident("should_panic"));
        self.ignored += usize::from(attribute.path().is_ident("ignore"));
    }
}

fn functions(source: &Source) -> Functions {
    let file = syn::parse_file(&source.text).unwrap_or_else(|e| panic!("{}: {e}", source.path));
    let mut found = Functions::default();
    found.visit_file(&file);
    found
}

#[test]
fn no_function_is_too_long() {
    let sources = rust_sources();
    let long = sources
        .iter()
        .filter(|s| !s.is_test())
        .flat_map(|s| functions(s).long.into_iter().map(move |f| format!("{}: {f}", s.path)));
    expect_none("functions that are too long", long.collect());
}

#[test]
fn unsafe_code_stays_in_runtime_and_net() {
    let allowed = |s: &Source| s.path.starts_with("crates/runtime/") || s.path.starts_with("crates/net/");
    let found = rust_sources().into_iter().filter(|s| !allowed(s) && functions(s).unsafe_code > 0);
    expect_none("files with unsafe code", found.map(|s| s.path).collect());
}

#[test]
fn tests_fail_by_assertion_and_are_never_ignored() {
    let found = rust_sources().into_iter().filter(|s| {
        let f = functions(s);
        f.should_panic + f.ignored > 0
    });
    expect_none("files with should_panic or ignore", found.map(|s| s.path).collect());
}

#[test]
fn names_say_what_a_module_is_for() {
    const VAGUE: &[&str] = &["utils", "util", "helpers", "helper", "common", "manager", "generic", "misc"];
    let vague = rust_sources()
        .into_iter()
        .filter(|s| s.path.trim_end_matches(".rs").split('/').any(|part| VAGUE.contains(&part)));
    expect_none("modules with vague names", vague.map(|s| s.path).collect());
}

#[test]
fn nothing_is_left_for_later() {
    const MARKS: &[&str] = &["TODO", "FIXME", "XXX:", "todo!(", "unimplemented!(", "for now,"];
    let told = rust_sources().into_iter().filter(|s| !s.path.starts_with("tests/tidy/")).flat_map(|s| {
        let found: Vec<String> = s
            .text
            .lines()
            .enumerate()
            .filter(|(_, l)| MARKS.iter().any(|m| l.contains(m)))
            .map(|(i, l)| format!("{}:{}: {}", s.path, i + 1, l.trim()))
            .collect();
        found
    });
    expect_none("unfinished places", told.collect());
}

#[test]
fn dependencies_point_one_way() {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(vec!["--offline".to_owned()])
        .exec()
        .expect("cargo metadata");
    let edges: BTreeMap<_, _> = EDGES.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in metadata.packages.iter().filter(|p| p.name.as_str() != "coracle") {
        let Some(allowed) = edges.get(package.name.as_str()) else {
            wrong.push(format!("{} has no row in EDGES", package.name));
            continue;
        };
        let normal = package.dependencies.iter().filter(|d| d.kind == cargo_metadata::DependencyKind::Normal);
        for dependency in normal {
            let ours = dependency.path.is_some() && !allowed.contains(&dependency.name.as_str());
            let kube = dependency.name == "kube" && NO_KUBE.contains(&package.name.as_str());
            if ours || kube {
                wrong.push(format!("{} → {}", package.name, dependency.name));
            }
        }
    }
    expect_none("edges that are not in the table", wrong);
}

#[test]
fn every_crate_is_on_the_map() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let crates = std::fs::read_dir(root().join("crates")).expect("crates").flatten();
    let names = crates.map(|e| e.file_name().to_string_lossy().into_owned());
    expect_none(
        "crates that ARCHITECTURE.md does not mention",
        names.filter(|n| !map.contains(&format!("`{n}`"))).collect(),
    );
}

#[test]
fn the_tree_names_nobodys_machine() {
    const PRIVATE: &[&str] = &["/work/", "/farm/", "/root/.cargo"];
    let told = files()
        .into_iter()
        .filter(|s| !s.path.starts_with("tests/tidy/"))
        .filter(|s| PRIVATE.iter().any(|p| s.text.contains(p)));
    expect_none("files with paths of somebody's machine", told.map(|s| s.path).collect());
}
