//! A program in a terminal of its own: what is on its screen, keys for it, another size. The
//! terminal is `script`'s (util-linux), so that no test needs a system call.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use super::{eventually, eventually_some};

/// A screen, and what runs on it.
pub struct Pty {
    script: Child,
    keys: Option<ChildStdin>,
    screen: Arc<Mutex<vt100::Parser>>,
    dir: PathBuf,
}

impl Pty {
    /// Runs a shell command on a screen of this size. `dir` is for what the test must know of it.
    pub fn start(mut command: Command, dir: &Path, (rows, columns): (u16, u16)) -> Self {
        // Settings before and after, the terminal's name, the pid and how it ended.
        let words: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| format!("'{}'", word.to_string_lossy()))
            .collect();
        let at = dir.display();
        let line = format!(
            "stty rows {rows} cols {columns}; stty -g > {at}/before; tty > {at}/tty; \
             sh -c 'echo $$ > {at}/pid; exec \"$@\"' sh {}; echo $? > {at}/code.new; \
             stty -g > {at}/after; mv {at}/code.new {at}/code",
            words.join(" ")
        );
        let envs: Vec<_> = command
            .get_envs()
            .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
            .collect();
        command = Command::new("script");
        let mut script = command
            .args(["-qefc", &line, "/dev/null"])
            .env_clear()
            .envs(envs)
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("script starts");
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let shown = Arc::clone(&screen);
        let mut output = script.stdout.take().expect("stdout");
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                shown.lock().expect("screen").process(&bytes[..count]);
            }
        });
        Self {
            keys: script.stdin.take(),
            script,
            screen,
            dir: dir.to_owned(),
        }
    }

    /// What is on the screen.
    pub fn text(&self) -> String {
        self.screen.lock().expect("screen").screen().contents()
    }

    /// Waits until the screen is so.
    pub fn until(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        let begun = std::time::Instant::now();
        while !holds(&text) {
            assert!(
                begun.elapsed() < super::PATIENCE,
                "waited in vain for {what}:\n{text}"
            );
            std::thread::sleep(std::time::Duration::from_millis(20));
            text = self.text();
        }
        text
    }

    /// Types.
    pub fn keys(&mut self, keys: &str) {
        let input = self.keys.as_mut().expect("stdin");
        input.write_all(keys.as_bytes()).expect("keys");
        input.flush().expect("keys");
    }

    /// Makes it larger or smaller.
    pub fn resize(&self, rows: u16, columns: u16) {
        let tty = self.file("tty");
        let sizes = [rows.to_string(), columns.to_string()];
        self.screen
            .lock()
            .expect("screen")
            .screen_mut()
            .set_size(rows, columns);
        let status = Command::new("stty")
            .args(["-F", tty.trim(), "rows", &sizes[0], "cols", &sizes[1]])
            .status();
        assert!(status.expect("stty").success());
    }

    /// The pid of what runs.
    pub fn pid(&self) -> u32 {
        self.file("pid").trim().parse().expect("a pid")
    }

    /// How it ended.
    pub fn code(&self) -> i32 {
        self.file("code").trim().parse().expect("a code")
    }

    /// That the terminal is as it was: settings, screen and cursor.
    pub fn is_as_it_was(&self) {
        let _ended = self.code();
        assert_eq!(self.file("before"), self.file("after"));
        eventually("the usual screen with its cursor", || {
            let parser = self.screen.lock().expect("screen");
            !parser.screen().alternate_screen() && !parser.screen().hide_cursor()
        });
    }

    /// Whether the screen is one of its own, which goes when the program does.
    pub fn is_full(&self) -> bool {
        let parser = self.screen.lock().expect("screen");
        parser.screen().alternate_screen()
    }

    fn file(&self, name: &str) -> String {
        eventually_some(name, || {
            let text = fs::read_to_string(self.dir.join(name)).ok()?;
            text.ends_with('\n').then_some(text)
        })
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if let Ok(text) = fs::read_to_string(self.dir.join("pid"))
            && !self.dir.join("code").exists()
        {
            let _ = Command::new("kill").args(["-KILL", text.trim()]).status();
        }
        drop(self.keys.take());
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}
