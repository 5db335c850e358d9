//! The reading side: any number, in any process, while the writer writes. It takes no lock,
//! changes nothing, and never reads past a frame that is not whole yet.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use grace_model::event::Event;

use crate::error::JournalError;
use crate::frame::{self, Frame};
use crate::segment::{self, Cursor, HEADER, Header};

/// Bytes read at once.
const CHUNK: usize = 128 * 1024;

/// What is in a journal.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "nearly all entries are events")]
pub enum Entry {
    /// An event.
    Event(Event),
    /// Something is missing here.
    Gap {
        /// How many events; none when nobody can say.
        dropped: Option<u64>,
        /// Why.
        reason: GapReason,
    },
    /// An event of a later version: its kind.
    Unknown(String),
}

/// Why something is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// There was no space to write it.
    NoSpace,
    /// It was dropped to keep the journal within its bound before this reader came by.
    Dropped,
    /// Its bytes are damaged.
    Damaged,
}

/// Reads entries from a place on.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    cursor: Cursor,
    open: Option<Open>,
    /// Number of the next frame in the whole journal, while it is known.
    sequence: Option<u64>,
    /// Nothing whole is between these two offsets of the segment.
    searched: (u64, u64),
}

#[derive(Debug)]
struct Open {
    number: u64,
    file: File,
}

enum Step {
    /// The entry, and the cursor after it.
    Entry(Entry),
    /// Look again: the cursor has moved.
    Moved,
    /// Nothing more now.
    End,
}

impl Reader {
    /// A reader that goes on at `cursor`. The journal need not exist yet.
    #[must_use]
    pub fn open(dir: &Path, cursor: Cursor) -> Self {
        Self {
            dir: dir.to_owned(),
            cursor,
            open: None,
            sequence: None,
            searched: (0, 0),
        }
    }

    /// Where it will go on.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The next entries, at most `most`, each with the place after it: store that place with
    /// what was done about the entry. Empty when there is nothing new.
    ///
    /// # Errors
    /// [`JournalError::Io`]; the same entries come again at the next call.
    pub fn read(&mut self, most: usize) -> Result<Vec<(Cursor, Entry)>, JournalError> {
        let mut found = Vec::new();
        while found.len() < most {
            match self.step(most.saturating_sub(found.len()), &mut found)? {
                Step::Entry(entry) => found.push((self.cursor, entry)),
                Step::Moved => {}
                Step::End => break,
            }
        }
        Ok(found)
    }

    fn step(
        &mut self,
        most: usize,
        found: &mut Vec<(Cursor, Entry)>,
    ) -> Result<Step, JournalError> {
        if self
            .open
            .as_ref()
            .is_none_or(|open| open.number != self.cursor.segment)
        {
            return self.enter();
        }
        if self.read_chunk(most, found)? {
            return Ok(Step::Moved);
        }
        // Nothing whole here. Whether a later segment exists must be known before the last
        // look: the writer appends here and then begins the next, never the other way round.
        let has_later = self
            .list()?
            .last()
            .is_some_and(|last| *last > self.cursor.segment);
        if self.read_chunk(most, found)? {
            return Ok(Step::Moved);
        }
        let rest = self.rest()?;
        if matches!(frame::decode(&rest), Frame::Whole { .. }) {
            return Ok(Step::Moved);
        }
        let offset = self.cursor.offset;
        let searched = (offset, offset.saturating_add(rest.len() as u64));
        if searched != self.searched {
            self.searched = searched;
            if let Some(skip) = frame::next_whole(&rest) {
                self.cursor.offset = self.cursor.offset.saturating_add(skip as u64);
                self.sequence = None;
                return Ok(Step::Entry(Entry::Gap {
                    dropped: None,
                    reason: GapReason::Damaged,
                }));
            }
        }
        if has_later {
            self.advance(!rest.is_empty())
        } else {
            Ok(Step::End)
        }
    }

    /// Opens the cursor's segment, or the next one that exists.
    fn enter(&mut self) -> Result<Step, JournalError> {
        let segments = self.list()?;
        let wanted = self.cursor.segment;
        if segments.contains(&wanted) {
            return self.enter_exactly(wanted);
        }
        if segments.last().is_some_and(|newest| *newest < wanted) {
            // Every segment is older than the cursor: another journal took this one's place.
            self.cursor = Cursor::START;
            self.sequence = None;
            return Ok(Step::Entry(Entry::Gap {
                dropped: None,
                reason: GapReason::Dropped,
            }));
        }
        self.advance(false)
    }

    fn enter_exactly(&mut self, number: u64) -> Result<Step, JournalError> {
        let Some((file, header)) = self.header_of(number)? else {
            return Ok(Step::Moved);
        };
        let Some(header) = header else {
            let damaged = holds_more_than_header(&file);
            return self.advance(damaged);
        };
        self.cursor.offset = self.cursor.offset.max(HEADER);
        if self.cursor.offset == HEADER {
            self.sequence = Some(header.first);
        }
        self.open = Some(Open { number, file });
        self.searched = (0, 0);
        Ok(Step::Moved)
    }

    /// Goes to the start of the next segment that can be read, if there is one. `damaged`:
    /// bytes were left behind that could not be read.
    fn advance(&mut self, damaged: bool) -> Result<Step, JournalError> {
        let mut damaged = damaged;
        let mut absent = false;
        let mut expected = self.cursor.segment.saturating_add(1);
        for number in self
            .list()?
            .into_iter()
            .filter(|number| *number > self.cursor.segment)
        {
            absent |= number != expected;
            expected = number.saturating_add(1);
            let Some((file, header)) = self.header_of(number)? else {
                return Ok(Step::Moved);
            };
            let Some(header) = header else {
                damaged |= holds_more_than_header(&file);
                continue;
            };
            let dropped = match self.sequence {
                Some(next) => Some(header.first.saturating_sub(next)),
                None if self.cursor == Cursor::START => Some(header.first),
                None if !damaged && !absent => Some(0),
                None => None,
            };
            self.cursor = Cursor {
                segment: number,
                offset: HEADER,
            };
            self.sequence = Some(header.first);
            self.open = Some(Open { number, file });
            self.searched = (0, 0);
            return Ok(match dropped {
                // Headers count whole frames: what was damaged is not among them.
                Some(0) | None if damaged => Step::Entry(Entry::Gap {
                    dropped: None,
                    reason: GapReason::Damaged,
                }),
                Some(0) => Step::Moved,
                dropped => Step::Entry(Entry::Gap {
                    dropped,
                    reason: GapReason::Dropped,
                }),
            });
        }
        Ok(Step::End)
    }

    /// The segment's file and header; none when it was dropped meanwhile.
    fn header_of(&self, number: u64) -> Result<Option<(File, Option<Header>)>, JournalError> {
        let path = segment::path(&self.dir, number);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(JournalError::io(path, "opening it", source)),
        };
        let bytes = read_at(&file, 0, HEADER as usize)
            .map_err(|source| JournalError::io(path, "reading it", source))?;
        Ok(Some((file, Header::decode(&bytes))))
    }

    /// Takes the whole frames at the cursor; says whether there was any.
    fn read_chunk(
        &mut self,
        most: usize,
        found: &mut Vec<(Cursor, Entry)>,
    ) -> Result<bool, JournalError> {
        let mut bytes = self.read_here(CHUNK)?;
        if let Some(size) = frame::promised_size(&bytes)
            && size > bytes.len()
            && bytes.len() == CHUNK
        {
            bytes = self.read_here(size)?;
        }
        let mut rest = bytes.as_slice();
        let mut any = false;
        for _ in 0..most {
            let Frame::Whole { payload, size } = frame::decode(rest) else {
                break;
            };
            self.cursor.offset = self.cursor.offset.saturating_add(size as u64);
            self.sequence = self.sequence.map(|next| next.saturating_add(1));
            found.push((self.cursor, entry_of(payload)));
            rest = rest.get(size..).unwrap_or_default();
            any = true;
        }
        Ok(any)
    }

    /// All bytes from the cursor to the end of its segment.
    fn rest(&self) -> Result<Vec<u8>, JournalError> {
        let length = match &self.open {
            Some(open) => open
                .file
                .metadata()
                .map_err(|source| JournalError::io(self.path(), "looking at it", source))?
                .len(),
            None => 0,
        };
        let left = length.saturating_sub(self.cursor.offset);
        self.read_here(usize::try_from(left).unwrap_or(usize::MAX))
    }

    fn read_here(&self, most: usize) -> Result<Vec<u8>, JournalError> {
        match &self.open {
            Some(open) => read_at(&open.file, self.cursor.offset, most)
                .map_err(|source| JournalError::io(self.path(), "reading it", source)),
            None => Ok(Vec::new()),
        }
    }

    fn list(&self) -> Result<Vec<u64>, JournalError> {
        let segments = segment::list(&self.dir)
            .map_err(|source| JournalError::io(&self.dir, "listing it", source))?;
        Ok(segments.into_iter().map(|(number, _)| number).collect())
    }

    fn path(&self) -> PathBuf {
        segment::path(&self.dir, self.cursor.segment)
    }
}

fn entry_of(payload: &[u8]) -> Entry {
    if let Ok(event) = serde_json::from_slice::<Event>(payload) {
        return Entry::Event(event);
    }
    let value: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
    if let Some(gap) = value.get("gap") {
        let dropped = gap.get("dropped").and_then(serde_json::Value::as_u64);
        return Entry::Gap {
            dropped,
            reason: GapReason::NoSpace,
        };
    }
    let kind = value
        .get("event")
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default();
    Entry::Unknown(kind.to_owned())
}

fn holds_more_than_header(file: &File) -> bool {
    file.metadata().is_ok_and(|meta| meta.len() > HEADER)
}

/// Up to `most` bytes; fewer only at the end of the file.
fn read_at(file: &File, offset: u64, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; most];
    let mut filled = 0_usize;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(count) => filled = filled.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
