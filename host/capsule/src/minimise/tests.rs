//! Capsules made smaller by an oracle that needs no process.

use super::*;
use crate::blob::Blob;
use crate::capsule::Outcome;

fn request(target: &str, body: &str) -> Request {
    let headers = [
        ("accept", "*/*"),
        ("x-trace", "1"),
        ("content-type", "application/json"),
    ];
    Request {
        at_us: 0,
        method: "POST".to_owned(),
        target: target.to_owned(),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Blob::from(*value)))
            .collect(),
        body: Blob::from(body),
        body_bytes: body.len() as u64,
        outcome: Outcome::Answered,
        suspect: false,
        answer: None,
    }
}

/// Fails when some request is for `/order` with a type and a quantity below zero.
struct Poisoned {
    asked: usize,
    most: usize,
}

impl Oracle for Poisoned {
    fn fails(&mut self, candidates: &[Vec<Request>]) -> Option<Vec<bool>> {
        self.asked += candidates.len();
        if self.asked > self.most {
            return None;
        }
        let poison = |request: &Request| {
            request.target.starts_with("/order")
                && request.header("content-type").is_some()
                && request
                    .body
                    .text()
                    .is_some_and(|it| it.contains("\"quantity\":-1"))
        };
        Some(
            candidates
                .iter()
                .map(|all| all.iter().any(poison))
                .collect(),
        )
    }

    fn width(&self) -> usize {
        2
    }
}

fn two_hundred() -> Vec<Request> {
    let good = "{\"items\":[{\"sku\":\"a\",\"quantity\":2}],\"note\":\"hello\"}";
    let mut all: Vec<Request> = (0..200)
        .map(|n| request(&format!("/hello?id={n}"), good))
        .collect();
    all[137] = request(
        "/order?id=7&trace=1",
        "{\"items\":[{\"sku\":\"a\",\"quantity\":2},{\"sku\":\"b\",\"quantity\":-1}],\"note\":\"hello\"}",
    );
    all
}

#[test]
fn two_hundred_requests_become_the_one_request_with_the_one_field() {
    let mut oracle = Poisoned {
        asked: 0,
        most: 1_000,
    };
    let shrunk = minimise(&two_hundred(), &mut oracle);
    assert!(shrunk.complete);
    let [only] = &shrunk.requests[..] else {
        panic!("{:?}", shrunk.requests)
    };
    assert_eq!(only.target, "/order");
    assert_eq!(
        only.headers,
        [("content-type".to_owned(), Blob::from("application/json"))]
    );
    assert_eq!(only.body.text(), Some("{\"items\":[{\"quantity\":-1}]}"));
    assert_eq!(only.body_bytes, 27);
    assert!(oracle.asked < 139, "{} questions", oracle.asked);
}

#[test]
fn suspects_that_fail_alone_save_the_search_over_all_requests() {
    let mut all = two_hundred();
    all[137].suspect = true;
    let mut oracle = Poisoned {
        asked: 0,
        most: 1_000,
    };
    let shrunk = minimise(&all, &mut oracle);
    assert_eq!(shrunk.requests.len(), 1);
    let without = {
        let mut oracle = Poisoned {
            asked: 0,
            most: 1_000,
        };
        minimise(&two_hundred(), &mut oracle);
        oracle.asked
    };
    assert!(oracle.asked < without, "{} and {without}", oracle.asked);
}

#[test]
fn a_minimising_that_is_ended_gives_the_smallest_that_failed_and_says_so() {
    for most in [0, 1, 5, 12] {
        let mut oracle = Poisoned { asked: 0, most };
        let shrunk = minimise(&two_hundred(), &mut oracle);
        assert!(!shrunk.complete);
        let mut judge = Poisoned { asked: 0, most: 1 };
        assert_eq!(
            judge.fails(&[shrunk.requests]),
            Some(vec![true]),
            "after {most}"
        );
    }
}

#[test]
fn a_body_without_structure_is_cut_to_what_fails() {
    struct Holds;
    impl Oracle for Holds {
        fn fails(&mut self, candidates: &[Vec<Request>]) -> Option<Vec<bool>> {
            let holds = |all: &Vec<Request>| {
                all.iter()
                    .any(|it| it.body.0.windows(3).any(|three| three == b"\xff%n"))
            };
            Some(candidates.iter().map(holds).collect())
        }
        fn width(&self) -> usize {
            3
        }
    }
    let mut one = request("/", "");
    one.body = Blob([vec![7; 90], b"\xff%n".to_vec(), vec![9; 90]].concat());
    let shrunk = minimise(&[one], &mut Holds);
    assert_eq!(shrunk.requests[0].body.0, b"\xff%n");
}
