//! How a command ends: sysexits codes, because mail systems read them, and one line on standard error.
//!
//! Invariant: a reader that closed our output early (`| head`) is no failure; the command then ends quietly with 0.

use std::fmt;
use std::io;

/// The codes of sysexits.h that this program uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    Usage = 64,
    /// Bad input.
    Data = 65,
    NoUser = 67,
    Unavailable = 69,
    /// A bug.
    Software = 70,
    Io = 74,
    /// Try again later.
    TempFail = 75,
    /// Refused.
    NoPerm = 77,
    Config = 78,
}

impl Exit {
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The code as it came over the control socket.
    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Ok,
            64 => Self::Usage,
            65 => Self::Data,
            67 => Self::NoUser,
            69 => Self::Unavailable,
            74 => Self::Io,
            75 => Self::TempFail,
            77 => Self::NoPerm,
            78 => Self::Config,
            _ => Self::Software,
        }
    }
}

/// Why a command ends otherwise than well; `message` goes to standard error unless it is empty.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Everything has been said already.
    pub const fn silent(exit: Exit) -> Self {
        Self { exit, message: String::new() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::silent(Exit::Ok),
            _ => Self::new(Exit::Io, error.to_string()),
        }
    }
}

/// What a subcommand returns.
pub type Outcome = Result<(), Failure>;
