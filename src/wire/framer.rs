//! The buffer between a socket and a session: octets in, lines, objects and chunks out.

use super::DotRule;

/// What a line may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineRule {
    /// Octets with the CRLF.
    pub max: usize,
    /// Whether NUL may stand in it.
    pub nul: bool,
}

/// What data may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataRule {
    pub dots: DotRule,
    /// Octets of one line as received, with its CRLF.
    pub max_line: usize,
    /// Octets of the whole object, without the terminator and without added periods.
    pub max_size: usize,
    /// Whether NUL may stand in it.
    pub nul: bool,
}

/// What was wrong with a line. It has been read to its CRLF and is gone; the next line can be read.
/// Of several flaws the greatest is reported, so that it does not matter in which pieces the line arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum LineError {
    #[error("line is too long")]
    TooLong,
    #[error("line holds a NUL")]
    Nul,
    #[error("line holds a CR or LF that is not part of CRLF")]
    LoneCrOrLf,
}

/// What was wrong with data. Except after [`DataError::Abandon`] it has been read to its terminator and is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    #[error("object is larger than {limit} octets")]
    TooLarge { limit: usize },
    #[error("a line of the object is longer than {limit} octets")]
    LineTooLong { limit: usize },
    #[error("object holds a CR or LF that is not part of CRLF")]
    LoneCrOrLf,
    #[error("object holds a NUL")]
    Nul,
    /// More than four times the limit and still no terminator: close the connection, no more can be read from it.
    #[error("object goes on for more than four times {limit} octets without its terminator")]
    Abandon { limit: usize },
}

/// See the module's words. Pull until `None` after each push: then nothing but a partial line or object is kept.
#[derive(Debug, Default)]
pub struct Framer {
    input: Vec<u8>,
    /// How much of `input` has been consumed.
    at: usize,
    line: Partial,
    data: Option<Data>,
    /// Lines ended, good or bad, in data too.
    lines: u64,
    /// The octet before the CRLF of the line that ended last.
    tail: Option<u8>,
}

/// A line of which the CRLF has not come yet.
#[derive(Debug, Default)]
struct Partial {
    /// At most the limit; emptied when the line turns out bad.
    kept: Vec<u8>,
    flaw: Option<LineError>,
    /// The octet before was a CR.
    after_cr: bool,
    /// Octets read of it, kept or not.
    length: usize,
    /// The last octet that is not part of a CR or LF at the end.
    tail: Option<u8>,
}

#[derive(Debug, Default)]
struct Data {
    kept: Vec<u8>,
    flaw: Option<DataError>,
    /// Octets as received.
    received: usize,
}

impl Framer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what the socket gave. Keep it to one read at a time (some 16 KiB): it is stored until it is pulled.
    pub fn push(&mut self, octets: &[u8]) {
        // Consumed octets are dropped when there is nothing else, or when dropping them costs less than they did.
        if self.at > self.input.len() / 2 {
            self.input.drain(..self.at);
            self.at = 0;
        }
        self.input.extend_from_slice(octets);
    }

    /// How much was pushed that no complete line, object or chunk has accounted for. It must be zero before a TLS
    /// handshake (command injection otherwise).
    pub fn pending(&self) -> usize {
        // Of a partial line inside data, `received` counts too: what matters is zero or not, and it is an upper bound.
        self.input.len() - self.at + self.line.length + self.data.as_ref().map_or(0, |d| d.received)
    }

    /// How many lines have ended so far, good or bad, in data too: what an idle timer watches.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The last octet before the CRLF of the line that ended last, which is known of a discarded line too: CIP's `+`
    /// says that data follows.
    pub fn tail(&self) -> Option<u8> {
        self.tail
    }

    /// Octets allocated, for the tests of the bounds.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.input.capacity() + self.line.kept.capacity() + self.data.as_ref().map_or(0, |d| d.kept.capacity())
    }

    /// The next complete line without its CRLF, or what was wrong with it; `None`: more octets are needed.
    pub fn line(&mut self, rule: LineRule) -> Option<Result<Vec<u8>, LineError>> {
        debug_assert!(self.data.is_none(), "a line is asked for in the middle of data");
        let mut consumed = 0;
        let end = self.step(rule, &mut consumed)?;
        let line = std::mem::take(&mut self.line.kept);
        Some(end.map(|()| line))
    }

    /// The next complete object, lines with CRLF, without its terminator; `None`: more octets are needed.
    ///
    /// The terminator is read in every case but [`DataError::Abandon`]; of several flaws the first is reported.
    pub fn data(&mut self, rule: &DataRule) -> Option<Result<Vec<u8>, DataError>> {
        let mut data = self.data.take().unwrap_or_default();
        let line_rule = LineRule { max: rule.max_line, nul: rule.nul };
        loop {
            let end = self.step(line_rule, &mut data.received);
            // Judged before the terminator is looked for, so that it does not matter in which pieces the data arrived.
            if data.received > rule.max_size.saturating_mul(4) {
                self.line = Partial::default();
                return Some(Err(DataError::Abandon { limit: rule.max_size }));
            }
            if end == Some(Ok(())) && self.line.kept == b"." {
                self.line.kept.clear();
                return Some(data.flaw.map_or(Ok(data.kept), Err));
            }
            match end {
                None => {
                    self.data = Some(data);
                    return None;
                }
                Some(end) => {
                    data.take(end, &self.line.kept, rule);
                    self.line.kept.clear();
                }
            }
        }
    }

    /// Consumes input up to the end of one line. `consumed` grows by the octets read.
    fn step(&mut self, rule: LineRule, consumed: &mut usize) -> Option<Result<(), LineError>> {
        while self.at < self.input.len() {
            let rest = &self.input[self.at..];
            let lf = rest.iter().position(|&b| b == b'\n');
            let piece = &rest[..lf.map_or(rest.len(), |i| i + 1)];
            self.at += piece.len();
            *consumed += piece.len();
            if self.line.take(piece, rule) {
                self.lines += 1;
                self.tail = self.line.tail.take();
                return Some(self.line.finish());
            }
        }
        // Everything is consumed: a large read does not stay allocated for an idle session.
        self.input.clear();
        self.input.shrink_to(16 << 10);
        self.at = 0;
        None
    }
}

impl Partial {
    /// Takes a piece that has no LF but perhaps as its last octet; true when that was the end of the line.
    fn take(&mut self, piece: &[u8], rule: LineRule) -> bool {
        let (body, lf) = match piece.split_last() {
            Some((b'\n', body)) => (body, true),
            _ => (piece, false),
        };
        let cr_before_lf = body.last().map_or(self.after_cr, |&b| b == b'\r');
        let ends = lf && cr_before_lf;
        // The CR of an earlier piece that no LF followed, CRs inside this one, and an LF without a CR.
        let stray = (self.after_cr && !body.is_empty())
            || body.split_last().is_some_and(|(_, inner)| inner.contains(&b'\r'))
            || (lf && !cr_before_lf);
        if stray {
            self.spoil(LineError::LoneCrOrLf);
        }
        if !rule.nul && body.contains(&0) {
            self.spoil(LineError::Nul);
        }
        self.tail = body.iter().rev().find(|&&b| b != b'\r').copied().or(self.tail);
        self.length += piece.len();
        if self.length > rule.max {
            self.spoil(LineError::TooLong);
        }
        if self.flaw.is_none() {
            self.kept.extend_from_slice(piece);
        }
        self.after_cr = !lf && cr_before_lf;
        ends
    }

    fn spoil(&mut self, flaw: LineError) {
        self.flaw = self.flaw.max(Some(flaw));
        self.kept = Vec::new();
    }

    /// Makes ready for the next line; a good one stays in `kept` without its CRLF, for the caller to take.
    fn finish(&mut self) -> Result<(), LineError> {
        self.after_cr = false;
        self.length = 0;
        if let Some(flaw) = self.flaw.take() {
            return Err(flaw);
        }
        self.kept.truncate(self.kept.len() - 2);
        Ok(())
    }
}

impl Data {
    fn take(&mut self, end: Result<(), LineError>, line: &[u8], rule: &DataRule) {
        match end {
            Err(LineError::TooLong) => self.spoil(DataError::LineTooLong { limit: rule.max_line }),
            Err(LineError::LoneCrOrLf) => self.spoil(DataError::LoneCrOrLf),
            Err(LineError::Nul) => self.spoil(DataError::Nul),
            Ok(()) if self.flaw.is_some() => {}
            Ok(()) => {
                let line = if rule.dots.unstuffs(line) { &line[1..] } else { line };
                if self.kept.len() + line.len() + 2 > rule.max_size {
                    self.spoil(DataError::TooLarge { limit: rule.max_size });
                } else {
                    self.kept.extend_from_slice(line);
                    self.kept.extend_from_slice(b"\r\n");
                }
            }
        }
    }

    fn spoil(&mut self, flaw: DataError) {
        self.flaw.get_or_insert(flaw);
        self.kept = Vec::new();
    }
}

/// A counted number of octets, whatever they are: a BDAT chunk (RFC 3030). Nothing is allocated before it arrives.
#[derive(Debug)]
pub struct Exact {
    left: u64,
    room: usize,
    kept: Vec<u8>,
    over: bool,
}

impl Exact {
    /// `octets` are to be read, of which at most `room` may be kept; a larger chunk is read, not stored, and reported.
    pub fn new(octets: u64, room: usize) -> Self {
        Self { left: octets, room, kept: Vec::new(), over: octets > room as u64 }
    }

    /// The chunk once it is complete, at once when it is empty; `None`: more octets are needed.
    pub fn read(&mut self, framer: &mut Framer) -> Option<Result<Vec<u8>, DataError>> {
        let here = framer.input.len() - framer.at;
        let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(here);
        if !self.over {
            self.kept.extend_from_slice(&framer.input[framer.at..framer.at + n]);
        }
        framer.at += n;
        self.left -= n as u64;
        if framer.at == framer.input.len() {
            framer.input.clear();
            framer.at = 0;
        }
        if self.left > 0 {
            return None;
        }
        Some(if self.over { Err(DataError::TooLarge { limit: self.room }) } else { Ok(std::mem::take(&mut self.kept)) })
    }
}
