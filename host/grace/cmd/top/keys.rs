//! What is typed and what it changes: order, filter, pause, place. It neither draws nor asks.

use super::frame::{Frame, Instance};

/// A key that means something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A letter.
    Letter(char),
    /// Escape, control-C, control-D.
    Leave,
    /// A line up.
    Up,
    /// A line down.
    Down,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the first line.
    Home,
    /// To the last line.
    End,
}

/// The keys in what a terminal sent at once. Sequences that are not known are passed over.
pub fn typed(mut bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    while let [first, rest @ ..] = bytes {
        bytes = rest;
        match (first, rest) {
            // As xterm sends them (ECMA-48, 5.4): an introducer, numbers, one last letter.
            (0x1b, [b'[' | b'O', inside @ ..]) => {
                let length = inside.iter().position(|byte| (0x40..=0x7e).contains(byte));
                let (sequence, behind) = match length.and_then(|at| inside.split_at_checked(at + 1))
                {
                    Some(parts) => parts,
                    None => (inside, &[][..]),
                };
                bytes = behind;
                keys.extend(match sequence {
                    b"A" => Some(Key::Up),
                    b"B" => Some(Key::Down),
                    b"5~" => Some(Key::PageUp),
                    b"6~" => Some(Key::PageDown),
                    b"H" | b"1~" | b"7~" => Some(Key::Home),
                    b"F" | b"4~" | b"8~" => Some(Key::End),
                    _ => None,
                });
            }
            (0x1b | 0x03 | 0x04, _) => keys.push(Key::Leave),
            (letter @ 0x20..=0x7e, _) => keys.push(Key::Letter((*letter).into())),
            _ => {}
        }
    }
    keys
}

/// By what instances are ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// As the file has them.
    #[default]
    Name,
    /// Processor.
    Cpu,
    /// Memory.
    Memory,
    /// Requests a second.
    Requests,
    /// Errors a second.
    Errors,
}

impl Sort {
    /// For the footer.
    pub fn word(self) -> &'static str {
        match self {
            Sort::Name => "name",
            Sort::Cpu => "cpu",
            Sort::Memory => "memory",
            Sort::Requests => "requests",
            Sort::Errors => "errors",
        }
    }

    fn next(self) -> Self {
        match self {
            Sort::Name => Sort::Cpu,
            Sort::Cpu => Sort::Memory,
            Sort::Memory => Sort::Requests,
            Sort::Requests => Sort::Errors,
            Sort::Errors => Sort::Name,
        }
    }
}

/// How the screen is to be.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Order.
    pub sort: Sort,
    /// The other way round.
    pub reverse: bool,
    /// Only this service.
    pub service: Option<String>,
    /// What is seen stays.
    pub paused: bool,
    /// Instances above the first that is seen.
    pub scroll: usize,
    /// To be left.
    pub quit: bool,
}

impl Wish {
    /// Takes a key. `frame` is what is seen, for the services that there are.
    pub fn key(&mut self, key: Key, frame: Option<&Frame>) {
        const PAGE: usize = 10;
        match key {
            Key::Leave | Key::Letter('q') => self.quit = true,
            Key::Letter('s') => self.sort = self.sort.next(),
            Key::Letter('r') => self.reverse = !self.reverse,
            Key::Letter('p' | ' ') => self.paused = !self.paused,
            Key::Letter('f') => {
                self.service = frame.and_then(|frame| self.next_service(frame));
                self.scroll = 0;
            }
            Key::Down | Key::Letter('j') => self.scroll = self.scroll.saturating_add(1),
            Key::Up | Key::Letter('k') => self.scroll = self.scroll.saturating_sub(1),
            Key::PageDown => self.scroll = self.scroll.saturating_add(PAGE),
            Key::PageUp => self.scroll = self.scroll.saturating_sub(PAGE),
            Key::Home => self.scroll = 0,
            Key::End => self.scroll = usize::MAX,
            Key::Letter(_) => {}
        }
    }

    /// All, then each, then all again.
    fn next_service(&self, frame: &Frame) -> Option<String> {
        let mut names = frame.services.iter().map(|service| &service.name);
        match &self.service {
            None => names.next().cloned(),
            Some(now) => {
                names.find(|name| *name == now)?;
                names.next().cloned()
            }
        }
    }

    /// The instances that are to be seen, in order.
    pub fn chosen<'f>(&self, frame: &'f Frame) -> Vec<&'f Instance> {
        let wanted = |one: &&Instance| {
            let service = self.service.as_deref();
            service.is_none_or(|service| one.view.service.as_str() == service)
        };
        let mut chosen: Vec<&Instance> = frame.instances.iter().filter(wanted).collect();
        let rate = |value: Option<f64>| value.unwrap_or(-1.0);
        // The most first, since that is what is looked for.
        match self.sort {
            Sort::Name => {}
            Sort::Cpu => chosen.sort_by_key(|one| {
                std::cmp::Reverse(one.usage.as_ref().and_then(|it| it.cpu_permille))
            }),
            Sort::Memory => chosen.sort_by_key(|one| {
                std::cmp::Reverse(one.usage.as_ref().map(|it| it.usage.memory_bytes))
            }),
            Sort::Requests => chosen.sort_by(|a, b| {
                rate(b.requests_per_second).total_cmp(&rate(a.requests_per_second))
            }),
            Sort::Errors => chosen
                .sort_by(|a, b| rate(b.errors_per_second).total_cmp(&rate(a.errors_per_second))),
        }
        if self.reverse {
            chosen.reverse();
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::History;
    use super::super::frame::tests::told;
    use super::*;

    fn frame() -> Frame {
        let mut history = History::default();
        history.put(told(1_000, 100));
        history.put(told(2_000, 300));
        history.frame().unwrap()
    }

    fn ids(wish: &Wish, frame: &Frame) -> Vec<String> {
        let chosen = wish.chosen(frame).into_iter();
        chosen.map(|one| one.view.id.to_string()).collect()
    }

    fn press(wish: &mut Wish, key: char, frame: &Frame) {
        wish.key(Key::Letter(key), Some(frame));
    }

    #[test]
    fn keys_sort_and_reverse_what_is_seen() {
        let (mut wish, frame) = (Wish::default(), frame());
        assert_eq!(ids(&wish, &frame), ["shop-1", "shop-2"]);
        press(&mut wish, 's', &frame);
        assert_eq!(wish.sort, Sort::Cpu);
        assert_eq!(ids(&wish, &frame), ["shop-2", "shop-1"]);
        press(&mut wish, 'r', &frame);
        assert_eq!(ids(&wish, &frame), ["shop-1", "shop-2"]);
        press(&mut wish, 'r', &frame);
        press(&mut wish, 's', &frame);
        assert_eq!(
            (wish.sort, ids(&wish, &frame)),
            (Sort::Memory, vec!["shop-2".into(), "shop-1".into()])
        );
        press(&mut wish, 's', &frame);
        assert_eq!(
            (wish.sort, ids(&wish, &frame)),
            (Sort::Requests, vec!["shop-1".into(), "shop-2".into()])
        );
    }

    #[test]
    fn the_filter_goes_through_the_services_and_back_to_all() {
        let (mut wish, frame) = (Wish::default(), frame());
        press(&mut wish, 'f', &frame);
        assert_eq!(wish.service.as_deref(), Some("shop"));
        wish.service = Some("gone".into());
        assert!(ids(&wish, &frame).is_empty());
        press(&mut wish, 'f', &frame);
        assert_eq!(wish.service, None);
        press(&mut wish, 'f', &frame);
        press(&mut wish, 'f', &frame);
        assert_eq!(wish.service, None);
    }

    #[test]
    fn q_escape_and_control_c_leave() {
        for sent in ["q", "\x1b", "\x03", "\x04"] {
            let mut wish = Wish::default();
            let keys = typed(sent.as_bytes());
            keys.into_iter().for_each(|key| wish.key(key, None));
            assert!(wish.quit, "{sent:?}");
        }
        let mut wish = Wish::default();
        wish.key(Key::Letter('c'), None);
        assert!(!wish.quit);
    }

    #[test]
    fn what_a_terminal_sends_is_told_apart_also_when_it_comes_at_once() {
        let sent = b"s\x1b[A\x1bOB\x1b[5~\x1b[6~\x1b[1;5C\x1b[H\x1b[F\xffr\x1b[";
        assert_eq!(
            typed(sent),
            [
                Key::Letter('s'),
                Key::Up,
                Key::Down,
                Key::PageUp,
                Key::PageDown,
                Key::Home,
                Key::End,
                Key::Letter('r'),
            ]
        );
    }
}
