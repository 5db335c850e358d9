//! `[governance]`, `allow` and the channels that reach people, good and bad.

use grace_model::config::{Channel, MailSecurity};
use grace_model::govern::{Governance, Mode};
use grace_model::plugin::Risk;

use super::tests::{Place, SHOP};

#[test]
fn governance_is_read_with_its_defaults_and_wrong_values_are_told() {
    let place = Place::new();
    let rules = |text: &str| place.good(&format!("{SHOP}{text}")).healing.governance;
    assert_eq!(rules(""), Governance::default());
    let read = rules(
        "allow = [\"config.restore\"]\n[governance]\nmode = \"observe\"\nask = \"high\"\nallow = [\"fleet.*\"]\n\
         actions = 3\nwindow = \"10s\"\nblast_radius = 100\nflaps = 2\nflap_window = \"1m\"\nanswer = \"2h\"\n",
    );
    assert_eq!((read.mode, read.ask), (Mode::Observe, Some(Risk::High)));
    assert_eq!(
        (read.actions, read.window_ms, read.blast_percent),
        (3, 10_000, 100)
    );
    assert_eq!(
        (read.flaps, read.flap_window_ms, read.answer_ms),
        (2, 60_000, 7_200_000)
    );
    assert_eq!(read.allow, ["fleet.*"]);
    assert_eq!(rules("[governance]\nask = \"never\"\n").ask, None);
    let service = place.good(&format!("{SHOP}allow = [\"config.restore\"]\n"));
    assert_eq!(service.services[0].allow, ["config.restore"]);
    for (line, said) in [
        ("[governance]\nmode = \"heel\"\n", "heal"),
        ("[governance]\nblast_radius = 0\n", "1 to 100"),
        ("[governance]\nactions = 0\n", "`actions`"),
        ("[governance]\nwindow = \"0s\"\n", "cannot be 0"),
        ("[governance]\nallow = [\"restore\"]\n", "pack.verb"),
        ("allow = [\"*.restore\"]\n", "pack.verb"),
    ] {
        let told = place.bad(&format!("{SHOP}{line}"));
        assert!(told.contains(said), "{line}: {told}");
    }
}

#[test]
fn channels_of_every_kind_are_resolved_and_secrets_stay_in_their_files() {
    let place = Place::new();
    std::fs::write(place.dir().join("token"), "t0ken").unwrap();
    let config = place.good(&format!(
        "{SHOP}[notify.chat]\nwebhook = \"https://chat.example.org/x\"\ntoken_file = \"token\"\n\
         [notify.mail]\nemail = {{ server = \"mail.example.org\", from = \"g@example.org\", to = [\"o@example.org\"], user = \"g\", password_file = \"token\" }}\n\
         [notify.near]\nemail = {{ server = \"localhost:2525\", security = \"none\", from = \"g@example.org\", to = [\"o@example.org\"] }}\n"
    ));
    let token = place.dir().join("token");
    assert_eq!(
        config.notify["chat"],
        Channel::Webhook {
            url: "https://chat.example.org/x".into(),
            token_file: Some(token.clone())
        }
    );
    let Channel::Email(mail) = &config.notify["mail"] else {
        panic!()
    };
    assert_eq!((mail.port, mail.security), (465, MailSecurity::Tls));
    assert_eq!(mail.login, Some(("g".into(), token)));
    let Channel::Email(near) = &config.notify["near"] else {
        panic!()
    };
    assert_eq!((near.server.as_str(), near.port), ("localhost", 2525));
    assert!(!serde_json::to_string(&config).unwrap().contains("t0ken"));
    let mail = |more: &str| {
        format!(
            "[notify.m]\nemail = {{ server = \"m\", from = \"g@example.org\", to = [\"o@example.org\"]{more} }}\n"
        )
    };
    for (line, said) in [
        (
            "[notify.c]\nwebhook = \"chat.example.org\"\n".to_owned(),
            "https://HOST/PATH",
        ),
        (
            "[notify.c]\nwebhook = \"https://x\"\nfile = \"y\"\n".to_owned(),
            "either",
        ),
        (
            "[notify.c]\nwebhook = \"https://x\"\ntoken_file = \"none\"\n".to_owned(),
            "none",
        ),
        (
            "[notify.c]\nfile = \"y\"\ntoken_file = \"token\"\n".to_owned(),
            "`webhook`",
        ),
        (mail(", user = \"g\""), "belong together"),
        (
            mail(", security = \"none\", user = \"g\", password_file = \"token\""),
            "in the clear",
        ),
        (mail(", password = \"x\""), "password"),
        (
            mail("").replace("o@example.org", "nobody"),
            "no mail address",
        ),
        (mail("").replace("\"m\"", "\"m:x\""), "no mail server"),
        (mail("").replace("[\"o@example.org\"]", "[]"), "1 to 50"),
    ] {
        let told = place.bad(&format!("{SHOP}{line}"));
        assert!(told.contains(said), "{line}: {told}");
    }
}
