//! Components made from core modules in text form. The module has memory, `cabi_realloc` and
//! a result area of zeros at 1024, which reads as "ok, nothing".

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Interfaces of WASI that a guest here may import: what is needed of them, as they are.
const WASI: &str = r#"
package wasi:io@0.2.6 {
  interface poll { resource pollable { block: func(); } }
}
package wasi:clocks@0.2.6 {
  interface monotonic-clock {
    use wasi:io/poll@0.2.6.{pollable};
    now: func() -> u64;
    subscribe-duration: func(when: u64) -> pollable;
  }
  interface wall-clock {
    record datetime { seconds: u64, nanoseconds: u32 }
    now: func() -> datetime;
  }
}
package wasi:random@0.2.6 {
  interface random { get-random-u64: func() -> u64; }
}
package wasi:cli@0.2.6 {
  interface exit { exit: func(status: result); }
}
package wasi:http@0.2.6 {
  interface types { answer: func() -> u32; }
}
package test:guest {
  interface other { go: func(); }
  world everything {
    include BASE;
    import wasi:clocks/monotonic-clock@0.2.6;
    import wasi:clocks/wall-clock@0.2.6;
    import wasi:random/random@0.2.6;
    import wasi:cli/exit@0.2.6;
    import wasi:http/types@0.2.6;
    import grace:plugin/clock@0.1.0;
    import grace:plugin/fleet-control@0.1.0;
  }
  world nothing-useful { export other; }
}
"#;

/// A component of `world` (`detector` or `action`) whose core module has `body` beside the
/// common parts.
pub fn component(world: &str, imports: &str, body: &str) -> Vec<u8> {
    encode(
        &format!("grace:plugin/{world}@0.1.0"),
        "everything",
        &module(imports, body),
    )
}

/// A component that exports `test:guest/other` and nothing of Grace.
pub fn stranger() -> Vec<u8> {
    let body = r#"(func (export "test:guest/other#go"))"#;
    encode(
        "grace:plugin/detector@0.1.0",
        "nothing-useful",
        &module("", body),
    )
}

fn encode(base: &str, world: &str, core: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve
        .push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit"))
        .expect("wit/ is sound");
    let text = format!("package test:all;\n{}", WASI.replace("BASE", base));
    let package = resolve
        .push_str("guest.wit", &text)
        .expect("the guests' wit is sound");
    let guest = resolve
        .packages
        .iter()
        .find(|(_, one)| one.name.to_string() == "test:guest")
        .map_or(package, |(id, _)| id);
    let world = resolve
        .select_world(&[guest], Some(world))
        .expect("the world is there");
    let mut bytes = wat::parse_str(core).expect("the module is sound");
    embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8)
        .expect("metadata fit");
    ComponentEncoder::default()
        .validate(true)
        .module(&bytes)
        .and_then(|mut encoder| encoder.encode())
        .expect("the module fits the world")
}

fn module(imports: &str, body: &str) -> String {
    format!(
        r#"(module
  {imports}
  (memory (export "memory") 2)
  (global $top (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $at) (local.get 3)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
      (br_if $fits (i32.ne (i32.const -1) (memory.grow
        (i32.add (i32.const 1) (i32.shr_u (local.get 3) (i32.const 16))))))
      unreachable)
    (local.get $at))
  {body}
)"#
    )
}

/// A detector whose `observe` is `body`, which leaves the address of its result. Parameters:
/// state's address and length, now, the observations' address and length.
pub fn detector(body: &str) -> Vec<u8> {
    detector_with("", body, "")
}

/// As [`detector`], with imports and further definitions.
pub fn detector_with(imports: &str, body: &str, more: &str) -> Vec<u8> {
    let observe = format!(
        r#"{more}
  (func $observe (export "grace:plugin/detect@0.1.0#observe")
    (param $state i32) (param $state_len i32) (param $now i64)
    (param $seen i32) (param $seen_len i32) (result i32)
    {body})"#
    );
    component("detector", imports, &observe)
}

/// A detector that answers an empty batch well and does `body` with every other one.
pub fn good_until_seen(imports: &str, body: &str, more: &str) -> Vec<u8> {
    let body = format!(
        "(if (local.get $seen_len) (then {body}))
    (i32.const 1024)"
    );
    detector_with(imports, &body, more)
}

/// A detector that does nothing. `mark` makes its bytes differ from those of another mark.
pub fn quiet(mark: u32) -> Vec<u8> {
    detector(&format!("(drop (i32.const {mark})) (i32.const 1024)"))
}

/// A detector that makes `count` findings of kind `kind`, which must be eight letters, of
/// target `t`, severity critical.
pub fn finder(kind: &str, count: u32) -> Vec<u8> {
    assert_eq!(kind.len(), 8);
    let body = "(local $i i32) (local $at i32)
    (if (i32.eqz (local.get $seen_len)) (then (return (i32.const 1024))))
    (local.set $at (i32.const 8192))
    (block $done (loop $next
      (br_if $done (i32.eq (local.get $i) (i32.const COUNT)))
      (i32.store (local.get $at) (i32.const 2048))
      (i32.store offset=4 (local.get $at) (i32.const 8))
      (i32.store offset=8 (local.get $at) (i32.const 2056))
      (i32.store offset=12 (local.get $at) (i32.const 1))
      (i32.store8 offset=16 (local.get $at) (i32.const 3))
      (i32.store16 offset=18 (local.get $at) (i32.const 900))
      (local.set $at (i32.add (local.get $at) (i32.const 44)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (i32.store (i32.const 1036) (i32.const 8192))
    (i32.store (i32.const 1040) (i32.const COUNT))
    (i32.const 1024)"
        .replace("COUNT", &count.to_string());
    detector_with("", &body, &format!(r#"(data (i32.const 2048) "{kind}t")"#))
}

/// An action pack with the one action `PACK.do` (`pack` has four letters) whose `run` is
/// `run`, which leaves the address of its result.
pub fn action(pack: &str, imports: &str, run: &str, more: &str) -> Vec<u8> {
    assert_eq!(pack.len(), 4);
    let body = format!(
        r#"(data (i32.const 2048) "{pack}.do")
  (data (i32.const 2064) "ms")
  (func (export "grace:plugin/act@0.1.0#describe") (result i32)
    (i32.store (i32.const 3000) (i32.const 3008))
    (i32.store (i32.const 3004) (i32.const 1))
    (i32.store (i32.const 3008) (i32.const 2048))
    (i32.store (i32.const 3012) (i32.const 7))
    (i32.store (i32.const 3024) (i32.const 3100))
    (i32.store (i32.const 3028) (i32.const 1))
    (i32.store8 (i32.const 3040) (i32.const 1))
    (i32.store (i32.const 3100) (i32.const 2064))
    (i32.store (i32.const 3104) (i32.const 2))
    (i32.store8 (i32.const 3108) (i32.const 4))
    (i32.const 3000))
  {more}
  (func $run {params} (result i32) {run})
  (func (export "grace:plugin/act@0.1.0#plan") {params} (result i32)
    (call $run (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5)))
  (export "grace:plugin/act@0.1.0#run" (func $run))
  (func (export "grace:plugin/act@0.1.0#undo")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 1024))"#,
        params = "(param i32 i32 i32 i32 i32 i32)",
    );
    component("action", imports, &body)
}

/// Import of `log.emit`.
pub const LOG: &str =
    r#"(import "grace:plugin/log@0.1.0" "emit" (func $emit (param i32 i32 i32)))"#;
/// Import of `clock.sleep-ms`.
pub const SLEEP: &str =
    r#"(import "grace:plugin/clock@0.1.0" "sleep-ms" (func $sleep (param i32 i32)))"#;
/// Import of `fleet-control.release`.
pub const RELEASE: &str = r#"(import "grace:plugin/fleet-control@0.1.0" "release"
    (func $release (param i32 i32 i32 i32 i32)))"#;
/// Import of a sleep in WASI.
pub const WASI_SLEEP: &str = r#"
  (import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration" (func $after (param i64) (result i32)))
  (import "wasi:io/poll@0.2.6" "[method]pollable.block" (func $block (param i32)))"#;
