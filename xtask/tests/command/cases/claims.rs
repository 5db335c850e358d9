//! `cargo xtask claims`: the README says what was proved, or the check fails.

use crate::checkout::Checkout;

const BEGIN: &str = "<!-- claims: made by `cargo xtask claims` -->\n";
const END: &str = "<!-- end of claims -->\n";

#[test]
fn a_readme_that_claims_what_was_not_proved_fails_the_check_and_is_mended() {
    let checkout = Checkout::new();
    checkout.write(
        "README.md",
        &format!("# Grace\n{BEGIN}| `a` | magic | proven |\n{END}"),
    );
    checkout.write(
        "fake/proved",
        "{\"claims\":[{\"id\":\"a\",\"claim\":\"It is so\",\"result\":\"not-proven\",\"missing\":null}]}",
    );
    let run = checkout.xtask(&["claims", "--check"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.stdout.contains("| `a` | It is so | not-proven |"),
        "{run:?}"
    );
    let run = checkout.xtask(&["claims"]);
    assert_eq!(run.code, 0, "{run:?}");
    let run = checkout.xtask(&["claims", "--check"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        checkout
            .calls()
            .iter()
            .any(|call| call == "grace prove --quick --json")
    );
}

#[test]
fn claims_that_could_not_be_tried_are_no_table() {
    let checkout = Checkout::new();
    checkout.write("README.md", &format!("{BEGIN}{END}"));
    let run = checkout.xtask(&["claims", "--check"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("grace prove"), "{run:?}");
}
