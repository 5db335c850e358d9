//! Which user a service runs as, and whether that user can reach its files.

use std::os::unix::fs::PermissionsExt;

use super::tests::Place;
use super::*;

/// A place and its surroundings for root, where there is a user nobody.
fn open_place(test: &str) -> Option<(Place, Surroundings)> {
    let Ok(Some(_)) = grace_os::user::lookup("nobody") else {
        grace_needs::not_run(
            test,
            "there is no user nobody; get it by: useradd --system nobody",
        );
        return None;
    };
    let place = Place::new();
    let root = Surroundings {
        root: true,
        ..place.around()
    };
    Some((place, root))
}

#[test]
fn a_program_in_a_place_that_the_named_user_may_not_enter_is_told_before_the_start() {
    let Some((place, root)) = open_place(
        "a_program_in_a_place_that_the_named_user_may_not_enter_is_told_before_the_start",
    ) else {
        return;
    };
    let locked = place.dir().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::copy(place.dir().join("shop"), locked.join("shop")).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
    let text = "[[service]]\nname = \"a\"\ncommand = [\"locked/shop\"]\nuser = \"nobody\"\n";
    let faults = parse(text, place.dir(), &root).unwrap_err();
    assert!(
        faults[0].what.contains("may not pass through"),
        "{faults:?}"
    );
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o755)).unwrap();
    parse(text, place.dir(), &root).unwrap();
}

#[test]
fn roots_service_without_user_runs_as_root_only_when_nobody_cannot_reach_its_files() {
    let Some((place, root)) = open_place(
        "roots_service_without_user_runs_as_root_only_when_nobody_cannot_reach_its_files",
    ) else {
        return;
    };
    let here = place.dir();
    let locked = here.join("locked");
    fs::create_dir(&locked).unwrap();
    fs::copy(here.join("shop"), locked.join("shop")).unwrap();
    fs::write(here.join("private.py"), "").unwrap();
    fs::set_permissions(here.join("private.py"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
    let user = |more: &str, around: &Surroundings| {
        let text = format!("[[service]]\nname = \"a\"\n{more}\n");
        let service = parse(&text, here, around).unwrap().services.remove(0);
        (service.user, service.root_because)
    };
    assert_eq!(user("command = [\"./shop\"]", &root), (None, None));
    for (what, more) in [
        ("/locked", "command = [\"locked/shop\"]"),
        ("/locked", "command = [\"./shop\", \"locked/shop\"]"),
        ("/private.py", "command = [\"./shop\", \"private.py\"]"),
        ("/locked", "command = [\"../shop\"]\ndir = \"locked\""),
    ] {
        let (name, why) = user(more, &root);
        assert_eq!(name.as_deref(), Some("root"), "{more}");
        assert!(why.unwrap().ends_with(what), "{more}");
    }
    let mut shut = root.clone();
    shut.state = Some(locked.join("state"));
    let (name, why) = user("command = [\"./shop\"]", &shut);
    assert_eq!(name.as_deref(), Some("root"));
    assert!(why.unwrap().ends_with("/locked"));
    let plain = place.around();
    assert_eq!(user("command = [\"locked/shop\"]", &plain), (None, None));
}
