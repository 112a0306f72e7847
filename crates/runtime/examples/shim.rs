//! The shim as a program of its own, for this crate's tests; the product calls the same function in a hidden role.

fn main() {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    std::process::exit(coracle_runtime::embedded::shim::main(&args));
}
