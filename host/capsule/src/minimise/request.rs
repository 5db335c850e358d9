//! One request, smaller while it still fails: its headers, its query, its body.

use serde_json::Value;

use super::{Ddmin, Oracle, json, pick};
use crate::blob::Blob;
use crate::capsule::Request;

/// Pieces into which a body without a structure is cut at first.
const PIECES: usize = 256;

/// Makes the request at `at` smaller. None when the oracle ended it.
pub(super) fn shrink(best: &mut Vec<Request>, at: usize, oracle: &mut dyn Oracle) -> Option<()> {
    headers(best, at, oracle)?;
    query(best, at, oracle)?;
    body(best, at, oracle)
}

fn headers(best: &mut Vec<Request>, at: usize, oracle: &mut dyn Oracle) -> Option<()> {
    let Some(headers) = best.get(at).map(|it| it.headers.clone()) else {
        return Some(());
    };
    parts(best, at, oracle, headers.len(), &mut |request, which| {
        request.headers = pick(&headers, which);
    })
}

fn query(best: &mut Vec<Request>, at: usize, oracle: &mut dyn Oracle) -> Option<()> {
    let target = best.get(at).map(|it| it.target.clone()).unwrap_or_default();
    let Some((path, query)) = target.split_once('?') else {
        return Some(());
    };
    let pairs: Vec<&str> = query.split('&').collect();
    parts(best, at, oracle, pairs.len(), &mut |request, which| {
        request.target = match pick(&pairs, which).join("&") {
            none if none.is_empty() => path.to_owned(),
            some => format!("{path}?{some}"),
        };
    })
}

fn body(best: &mut Vec<Request>, at: usize, oracle: &mut dyn Oracle) -> Option<()> {
    let Some(body) = best.get(at).map(|it| it.body.clone()) else {
        return Some(());
    };
    if body.is_empty() {
        return Some(());
    }
    if let Ok(value) = serde_json::from_slice::<Value>(&body.0)
        && (value.is_object() || value.is_array())
        && json_body(best, at, oracle, value)?
    {
        return Some(());
    }
    pieces(best, at, oracle, &body.0)
}

/// By its structure; false when it does not fail once it is written anew.
fn json_body(
    best: &mut Vec<Request>,
    at: usize,
    oracle: &mut dyn Oracle,
    mut value: Value,
) -> Option<bool> {
    let whole = best.clone();
    let build = |value: &Value| {
        changed(&whole, at, &mut |request| {
            set_body(request, value.to_string().into_bytes());
        })
    };
    let written = build(&value);
    if oracle.fails(std::slice::from_ref(&written))?.first() != Some(&true) {
        return Some(false);
    }
    let width = oracle.width();
    let done = json::shrink(&mut value, width, &mut |values| {
        let lists: Vec<Vec<Request>> = values.iter().map(build).collect();
        oracle.fails(&lists)
    });
    *best = build(&value);
    done.map(|()| true)
}

/// By cutting it up; finer and finer as far as one piece a byte while it is short.
fn pieces(best: &mut Vec<Request>, at: usize, oracle: &mut dyn Oracle, body: &[u8]) -> Option<()> {
    let size = body.len().div_ceil(PIECES).max(1);
    let cut: Vec<&[u8]> = body.chunks(size).collect();
    parts(best, at, oracle, cut.len(), &mut |request, which| {
        set_body(request, pick(&cut, which).concat());
    })
}

/// Finds which of `count` parts are needed; `set` puts some of them into the request.
fn parts(
    best: &mut Vec<Request>,
    at: usize,
    oracle: &mut dyn Oracle,
    count: usize,
    set: &mut dyn FnMut(&mut Request, &[usize]),
) -> Option<()> {
    let whole = best.clone();
    let mut work = Ddmin::new(count, oracle.width(), true);
    let done = work.run(&mut |lists| {
        let lists: Vec<Vec<Request>> = lists
            .iter()
            .map(|which| changed(&whole, at, &mut |request| set(request, which)))
            .collect();
        oracle.fails(&lists)
    });
    if work.best().len() < count {
        *best = changed(&whole, at, &mut |request| set(request, work.best()));
    }
    done
}

fn changed(all: &[Request], at: usize, change: &mut dyn FnMut(&mut Request)) -> Vec<Request> {
    let mut all = all.to_vec();
    if let Some(request) = all.get_mut(at) {
        change(request);
    }
    all
}

fn set_body(request: &mut Request, body: Vec<u8>) {
    request.body_bytes = body.len() as u64;
    request.body = Blob(body);
}
