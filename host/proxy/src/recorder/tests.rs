//! What the recorder keeps, counts and hands over; without a network.

use super::*;

fn rules() -> Arc<Record> {
    Arc::new(Record {
        body_bytes: 8,
        ..Record::default()
    })
}

fn tape(limit: u64) -> Rc<Tape> {
    Rc::new(Tape::new(rules(), limit))
}

fn asked(path: &str, rules: &Record) -> Rc<Asked> {
    let request = http::Request::post(path).header("host", "shop").body(());
    Asked::new(&request.unwrap().into_parts().0, rules)
}

fn targets(part: &Part) -> Vec<&str> {
    part.requests
        .iter()
        .map(|(_, request)| request.target.as_str())
        .collect()
}

#[test]
fn a_recorded_request_has_its_head_the_begin_of_its_body_and_its_answer() {
    let tape = tape(1 << 20);
    let asked = asked("/order?a=b", &rules());
    let now = Instant::now();
    let taken = tape.take(&asked, 7, now).unwrap();
    asked.body(b"12345");
    asked.body(b"67890");
    let mut headers = HeaderMap::new();
    headers.insert("x-pid", http::HeaderValue::from_static("1"));
    taken.answer(201, &headers, now + Duration::from_millis(3));
    taken.body(b"fine, thank you");
    let open = tape.hand_over(7, 10, now).requests.remove(0).1;
    assert_eq!((open.outcome, open.suspect), (Outcome::Answering, true));
    taken.ended();
    drop(taken);
    let request = tape.hand_over(7, 10, now).requests.remove(0).1;
    assert_eq!(request.target, "/order?a=b");
    assert_eq!(request.header("host"), Some("shop"));
    assert_eq!(
        (request.body.text(), request.body_bytes),
        (Some("12345678"), 10)
    );
    assert!(request.is_cut());
    assert_eq!(
        (request.outcome, request.suspect),
        (Outcome::Answered, false)
    );
    let answer = request.answer.unwrap();
    assert_eq!((answer.status, answer.after_us), (201, 3_000));
    assert_eq!(
        (answer.body.text(), answer.body_bytes),
        (Some("fine, th"), 15)
    );
    assert!(
        tape.hand_over(8, 10, now).requests.is_empty(),
        "another endpoint's"
    );
}

#[test]
fn rare_routes_are_kept_when_busy_ones_go_and_what_goes_is_counted() {
    let tape = tape(64 * 1024);
    let rules = rules();
    let now = Instant::now();
    let send = |path: &str| {
        let taken = tape.take(&asked(path, &rules), 1, now).unwrap();
        taken.ended();
    };
    send("/rare");
    for number in 0..2_000 {
        send(&format!("/busy/{number}"));
    }
    let part = tape.hand_over(1, 10_000, now);
    let all = targets(&part);
    assert_eq!(all[0], "/rare");
    assert_eq!(all.last(), Some(&"/busy/1999"));
    assert_eq!(all.len() as u64 + part.coverage.evicted, 2_001);
    assert!(part.coverage.evicted > 1_000);
    assert!(tape.ring.borrow().bytes() <= 64 * 1024);
}

#[test]
fn what_is_in_flight_never_goes_for_newer_requests_and_without_room_is_counted() {
    let tape = tape(16 * 1024);
    let rules = rules();
    let now = Instant::now();
    let hanging = tape.take(&asked("/hangs", &rules), 1, now).unwrap();
    for number in 0..500 {
        tape.take(&asked(&format!("/{number}"), &rules), 1, now)
            .unwrap()
            .ended();
    }
    let part = tape.hand_over(1, 3, now);
    assert_eq!(targets(&part), ["/hangs", "/498", "/499"]);
    assert!(part.requests[0].1.suspect && !part.requests[1].1.suspect);
    assert!(part.coverage.left_out > 0);
    let many: Vec<Option<Taken>> = (0..100)
        .map(|_| tape.take(&asked("/x", &rules), 1, now))
        .collect();
    let refused = many.iter().filter(|it| it.is_none()).count() as u64;
    assert!(refused > 0);
    assert_eq!(tape.hand_over(1, 3, now).coverage.no_room, refused);
    drop(hanging);
}

#[test]
fn a_route_that_is_not_recorded_leaves_a_count_of_what_is_in_flight_and_nothing_else() {
    let mut rules = Record::clone(&rules());
    rules.routes.push(grace_model::record::RecordRoute {
        path: "/login*".to_owned(),
        record: false,
    });
    let tape = tape(1 << 20);
    let now = Instant::now();
    let secret = asked("/login?password=x", &rules);
    secret.body(b"hunter2");
    let taken = tape.take(&secret, 1, now).unwrap();
    let part = tape.hand_over(1, 10, now);
    assert_eq!(
        (part.requests.len(), part.coverage.unrecorded_in_flight),
        (0, 1)
    );
    assert!(!format!("{secret:?}").contains("password") && secret.body.borrow().is_empty());
    drop(taken);
    let voided = tape.take(&secret, 1, now).unwrap();
    voided.void();
    assert_eq!(tape.hand_over(1, 10, now).coverage.unrecorded_in_flight, 0);
}

#[test]
fn a_connection_that_broke_just_now_makes_its_request_a_suspect_and_one_of_long_ago_does_not() {
    let tape = tape(1 << 20);
    let now = Instant::now();
    let taken = tape.take(&asked("/", &rules()), 1, now).unwrap();
    taken.broke();
    drop(taken);
    let request = |now| tape.hand_over(1, 10, now).requests.remove(0).1;
    assert_eq!(request(Instant::now()).outcome, Outcome::BrokeOff);
    assert!(request(Instant::now()).suspect);
    assert!(!request(Instant::now() + Duration::from_secs(60)).suspect);
    let void = tape.take(&asked("/", &rules()), 1, now).unwrap();
    void.void();
    assert_eq!(
        tape.hand_over(1, 10, now).requests.len(),
        1,
        "nothing was sent"
    );
}
