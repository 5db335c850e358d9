//! A checkout in a temporary directory whose tools are scripts. Each call of one is written down.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// What a run of `cargo xtask` did.
#[derive(Debug)]
#[must_use = "look at what it did"]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

pub struct Checkout {
    dir: TempDir,
}

/// The fake cargo. It does what is asked of it as far as xtask looks: metadata of an empty
/// workspace, components and a `grace` that are scripts, and tests that may miss a tool.
const CARGO: &str = r##"
echo "cargo $(basename "$PWD") [$CARGO_TARGET_DIR] $*" >> "$F/calls"
PATH=$GIVEN /usr/bin/env > "$F/env-$1"
for word in "$@"; do
  if [ -e "$F/fails-$word" ]; then echo "the fake cargo fails at $word" >&2; exit 101; fi
done
artifact() {
  echo "{\"reason\":\"compiler-artifact\",\"package_id\":\"$1\",\"target\":{\"name\":\"$1\"},\"executable\":$2,\"fresh\":false}"
}
misses() {
  [ -e "$F/misses-a-tool" ] || return 0
  [ -z "$GRACE_FULL" ] || { echo "NOT RUN" >&2; exit 101; }
  echo "a_test: curl is missing; get it by: apt-get install curl" >> "$GRACE_NOT_RUN"
}
case "$*" in
  *--target\ wasm32-wasip2*)
    mkdir -p "$CARGO_TARGET_DIR/wasm32-wasip2/release"
    for name in one two bad; do
      cp "$F/$name.wasm" "$CARGO_TARGET_DIR/wasm32-wasip2/release/plugin_$name.wasm"
      artifact "plugin-$name" null
    done ;;
  metadata*) cat "$F/metadata-$(basename "$PWD").json" ;;
  *--no-run*) artifact end-to-end "\"$F/end_to_end\"" ;;
  "build --package grace --bin grace"*)
    case "$*" in *--release*) to=release ;; *--profile\ dist*) to=dist ;; *) to=debug ;; esac
    mkdir -p "$CARGO_TARGET_DIR/$to"
    # The components that are compiled by now are put inside.
    { cat "$F/grace"; for one in "$F"/../plugins/out/precompiled/*.cwasm; do
      [ -e "$one" ] && echo "# carries $(basename "$one"): $(cat "$one")"; done; true; } > "$CARGO_TARGET_DIR/$to/grace"
    chmod 755 "$CARGO_TARGET_DIR/$to/grace"
    artifact grace "\"$CARGO_TARGET_DIR/$to/grace\"" ;;
  "build --quiet --workspace --bins")
    mkdir -p "$CARGO_TARGET_DIR/debug"; cp "$F/grace" "$CARGO_TARGET_DIR/debug/grace" ;;
  test*cases::dist*) echo "dist with $GRACE_BIN" >> "$F/calls"; misses ;;
  test*) misses ;;
  install*) [ -e "$F/bad-install" ] || { mkdir -p "$CARGO_TARGET_DIR/tools/bin"
    cp "$F/cargo-component" "$CARGO_TARGET_DIR/tools/bin/cargo-component"; } ;;
esac
exit 0
"##;

const RUSTUP: &str = r##"
echo "rustup $*" >> "$F/calls"
case "$*" in
  "target list --installed") cat "$F/targets" ;;
  "target add "*) [ ! -e "$F/fails-target" ] || exit 1; echo "$3" >> "$F/targets" ;;
esac
"##;

/// The fake `grace`: demonstrates with the exit code that is wanted, and compiles by copying.
const GRACE: &str = r##"
echo "grace $*" >> "$F/calls"
case "$*" in
  prove*) cat "$F/proved" || exit 2 ;;
  demo*) exit "$(cat "$F/demo-code" 2>/dev/null || echo 0)" ;;
  "internal precompile"*)
    [ ! -e "$F/fails-precompile" ] || exit 2
    for file in "$4"/*.wasm; do cp "$file" "$6/$(basename "$file" .wasm).cwasm"; done ;;
esac
"##;

const MEMBERS: &str = r#"{"packages":[],"workspace_members":["plugin-one 1","plugin-two 1","plugin-bad 1"],
"resolve":{"nodes":[{"id":"plugin-one 1","deps":[]},{"id":"plugin-two 1","deps":[]},{"id":"plugin-bad 1","deps":[]}]}}"#;

impl Checkout {
    /// One in which every part of `cargo xtask test` passes with rustup, cargo and nothing else.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("grace-xtask-t-")
            .tempdir()
            .unwrap();
        let new = Self { dir };
        for (name, text) in [("cargo", CARGO), ("rustup", RUSTUP), ("unshare", "exit 0")] {
            new.tool(name, text);
        }
        new.script("fake/grace", GRACE);
        new.script("fake/end_to_end", "exit 0");
        new.script("fake/cargo-component", "echo cargo-component 0.21.1");
        new.write("fake/targets", "wasm32-wasip1\nwasm32-wasip2\n");
        let host = r#"{"packages":[],"workspace_members":[],"resolve":{"nodes":[]},"target_directory":"/t"}"#;
        // Asked without `--no-deps`, cargo tells the members too; xtask takes what it needs.
        new.write(&format!("fake/metadata-{}.json", new.name()), host);
        let plugins = MEMBERS.replacen('{', "{\"target_directory\":\"/t\",", 1);
        new.write("fake/metadata-plugins.json", &plugins);
        for (group, name) in [
            ("detectors", "one"),
            ("actions", "two"),
            ("fixtures", "bad"),
        ] {
            new.plugin(group, name, "1");
        }
        new.top();
        new
    }

    /// What `cargo xtask tidy` wants to see.
    fn top(&self) {
        for file in [
            "LICENSE",
            "README.md",
            "plugins/Cargo.lock",
            "plugins/README.md",
        ] {
            self.write(file, "");
        }
        let lists = [
            "Primitives",
            "Playbooks",
            "Kernels",
            "Chaos waves",
            "Failure cards",
        ]
        .map(|name| format!("### {name} (0)\n\n"));
        // The one detector that there is.
        let triggers = "### Triggers (1)\n\n| 1 | it sees | `one` | works | `a_test` |\n";
        self.write(
            "playbooks/README.md",
            &format!("{}{triggers}", lists.concat()),
        );
        for file in [
            "wit/README.md",
            "host/.keep",
            "xtask/.keep",
            "plugins/actions/.keep",
            "plugins/detectors/.keep",
        ] {
            self.write(file, "");
        }
        // Where kernels are named; here there are none.
        for file in [
            "host/healer/src/house.rs",
            "host/supervisor/src/tables.rs",
            "host/proxy/src/stats.rs",
            "host/grace/cmd/internal/healer.rs",
        ] {
            self.write(file, "//! Nothing.\n");
        }
        self.write(
            "ARCHITECTURE.md",
            "| killed | test |\n| --- | --- |\n| x | `a_test` |\n",
        );
        self.write(
            "SPEC.md",
            "| promise | test |\n| --- | --- |\n| x | `a_test` |\n",
        );
        self.write("tests/a.rs", "//! A test.\nfn a_test() {}\n");
        let lock = ["wasmtime", "wasmtime-wasi"]
            .map(|name| format!("name = \"{name}\"\nversion = \"48.0.8\"\n"));
        self.write("Cargo.lock", &lock.concat());
        let trimmed = ["wasmtime", "wasmtime-wasi", "axum", "tokio-rustls"]
            .map(|name| format!("{name} = {{ version = \"1\", default-features = false }}\n"));
        self.write(
            "Cargo.toml",
            &format!("[workspace.dependencies]\n{}", trimmed.concat()),
        );
        for file in ["deny.toml", ".ci/run"] {
            let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
            let to = self.path(file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(real, to).unwrap();
        }
    }

    pub fn plugin(&self, group: &str, name: &str, bytes: &str) {
        let at = format!("plugins/{group}/{name}");
        let package = format!("[package]\nname = \"plugin-{name}\"\n");
        self.write(&format!("{at}/Cargo.toml"), &package);
        self.write(&format!("{at}/plugin.toml"), "world = \"detector\"\n");
        self.write(&format!("fake/{name}.wasm"), bytes);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn name(&self) -> String {
        self.dir
            .path()
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned()
    }

    pub fn write(&self, name: &str, text: &str) {
        let file = self.path(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn script(&self, name: &str, text: &str) {
        let fake = self.path("fake").display().to_string();
        self.write(
            name,
            &format!("#!/bin/sh\nF={fake:?}\nGIVEN=$PATH\nPATH=/usr/bin:/bin\n{text}\n"),
        );
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Puts a program on the PATH, which has no other.
    pub fn tool(&self, name: &str, text: &str) {
        self.script(&format!("bin/{name}"), text);
    }

    pub fn without(&self, name: &str) {
        fs::remove_file(self.path("bin").join(name)).unwrap();
    }

    /// A command that finds the tools of this checkout and no other.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("HOME", self.dir.path())
            .env("CARGO", self.path("bin/cargo"))
            .env("CARGO_MANIFEST_DIR", self.path("xtask"))
            .env("SOMETHING_ELSE", "of the shell")
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    pub fn xtask(&self, args: &[&str]) -> Run {
        run(self.command(env!("CARGO_BIN_EXE_xtask")).args(args))
    }

    /// Every call of a tool since the last time, without where the target directory is.
    pub fn calls(&self) -> Vec<String> {
        let text = self.read("fake/calls");
        self.write("fake/calls", "");
        let target = format!("[{}]", self.path("target").display());
        let at = self.dir.path().display().to_string();
        text.lines()
            .map(|line| {
                line.replace(&target, "[target]")
                    .replace(&format!("cargo {} ", self.name()), "cargo . ")
                    .replace(&at, "")
            })
            .collect()
    }
}

pub fn run(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
