//! `cargo xtask dist`: how the binary is packed. What is in it is looked at by the end-to-end
//! tests of the part `dist`.

use crate::checkout::Checkout;

#[test]
fn it_is_built_made_to_compile_its_components_and_built_again_with_them_inside() {
    for (args, build, made) in [
        (&["dist"][..], "--profile dist ", "target/dist/grace"),
        (&["dist", "--dev"], "", "target/dist-dev/grace"),
    ] {
        let checkout = Checkout::new();
        let run = checkout.xtask(args);
        assert_eq!(run.code, 0, "{run:?}");
        let build = format!("cargo . [target] build --package grace --bin grace {build}--message");
        let order: Vec<&str> = checkout
            .calls()
            .iter()
            .filter_map(|call| {
                if call.starts_with(&build) {
                    Some("build")
                } else if call.starts_with("grace internal precompile --from /plugins/out --to") {
                    Some("compile")
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(order, ["build", "compile", "build"]);
        let packed = checkout.read(made);
        for carried in ["carries one.cwasm: 1", "carries two.cwasm: 1"] {
            assert!(packed.contains(carried), "{packed}");
        }
        assert!(!packed.contains("bad.cwasm"), "{packed}");
        assert!(run.stdout.contains(made), "{run:?}");
    }
}

#[test]
fn a_component_that_does_not_compile_ends_it() {
    let checkout = Checkout::new();
    checkout.write("fake/fails-precompile", "");
    let run = checkout.xtask(&["dist"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("precompile"), "{run:?}");
    let run = checkout.xtask(&["dist", "--fast"]);
    assert_eq!(run.code, 2, "{run:?}");
}
