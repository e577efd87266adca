use super::*;
use proptest::prelude::*;

const LINE: LineRule = LineRule { max: 16, nul: false };
const CIP: DataRule = DataRule { dots: DotRule::Cip, max_line: 16, max_size: 64, nul: false };
const SMTP: DataRule = DataRule { dots: DotRule::Smtp, ..CIP };

type Row<'a> = (&'a DataRule, &'a [u8], Option<Result<Vec<u8>, DataError>>);
type Lines = Vec<Result<Vec<u8>, LineError>>;

fn lines(framer: &mut Framer) -> Lines {
    std::iter::from_fn(|| framer.line(LINE)).collect()
}

/// All the lines of `input`, in one push and octet by octet, which must agree.
fn lines_of(input: &[u8]) -> Lines {
    let mut whole = Framer::new();
    whole.push(input);
    let whole = lines(&mut whole);
    let mut slow = Framer::new();
    let bytewise: Lines = input
        .iter()
        .flat_map(|&b| {
            slow.push(&[b]);
            lines(&mut slow)
        })
        .collect();
    assert_eq!(whole, bytewise, "split points change the meaning of {:?}", decode(input));
    whole
}

fn data_of(rule: &DataRule, input: &[u8]) -> (Option<Result<Vec<u8>, DataError>>, usize) {
    let mut whole = Framer::new();
    whole.push(input);
    let got = whole.data(rule);
    let mut slow = Framer::new();
    let mut bytewise = None;
    let mut used = 0;
    for &b in input {
        slow.push(&[b]);
        used += 1;
        bytewise = slow.data(rule);
        if bytewise.is_some() {
            break;
        }
    }
    assert_eq!(got, bytewise, "split points change the meaning of {:?}", decode(input));
    (got, input.len() - used)
}

#[test]
fn lines_end_at_crlf_and_nowhere_else() {
    use LineError::{LoneCrOrLf, Nul, TooLong};
    let ok = |s: &str| Ok(s.as_bytes().to_vec());
    let table: &[(&[u8], Lines)] = &[
        (b"", vec![]),
        (b"a", vec![]),
        (b"a\r", vec![]),
        (b"\r\n", vec![ok("")]),
        (b"a\r\nb\r\n", vec![ok("a"), ok("b")]),
        (b"a\r\nb", vec![ok("a")]),
        (b"a\nb\r\nc\r\n", vec![Err(LoneCrOrLf), ok("c")]),
        (b"a\rb\r\nc\r\n", vec![Err(LoneCrOrLf), ok("c")]),
        (b"\n\r\nc\r\n", vec![Err(LoneCrOrLf), ok("c")]),
        (b"\ra\r\nc\r\n", vec![Err(LoneCrOrLf), ok("c")]),
        (b"a\r\r\nc\r\n", vec![Err(LoneCrOrLf), ok("c")]),
        (b"a\n\r\nc\r\n", vec![Err(LoneCrOrLf), ok("c")]),
        (b"a\0b\r\nc\r\n", vec![Err(Nul), ok("c")]),
        (b"\0\n\r\nc\r\n", vec![Err(LoneCrOrLf), ok("c")]),
        // The limit counts the CRLF: 14 octets and CRLF are 16.
        (b"12345678901234\r\nc\r\n", vec![ok("12345678901234"), ok("c")]),
        (b"123456789012345\r\nc\r\n", vec![Err(TooLong), ok("c")]),
        (b"1234567890123456789012345678901234567890\r\nc\r\n", vec![Err(TooLong), ok("c")]),
        // The worst flaw is the one reported; what follows in a discarded line does not end it early.
        (b"12345678901234567890\nx\ry\r\nc\r\n", vec![Err(LoneCrOrLf), ok("c")]),
        (b"1234567890123456\r\n\r\nc\r\n", vec![Err(TooLong), ok(""), ok("c")]),
        (b"\xe9\xff\r\n", vec![Ok(vec![0xe9, 0xff])]),
    ];
    for (input, want) in table {
        assert_eq!(&lines_of(input), want, "{:?}", decode(input));
    }
}

#[test]
fn data_ends_at_a_lone_period_and_nowhere_else() {
    use DataError::{Abandon, LineTooLong, LoneCrOrLf, Nul, TooLarge};
    let ok = |s: &str| Some(Ok(s.as_bytes().to_vec()));
    let full = "1234567890123\r\n".repeat(4);
    let four_lines = format!("{full}12\r\n.\r\n");
    let five_lines = format!("{full}123\r\n.\r\n");
    let endless = "1234567890123\r\n".repeat(400);
    let endless_line = "x".repeat(5000);
    let table: &[Row] = &[
        (&CIP, b".\r\n", ok("")),
        (&CIP, b"a\r\n.\r\n", ok("a\r\n")),
        (&CIP, b"\r\n.\r\n", ok("\r\n")),
        (&CIP, b"a\r\n.", None),
        (&CIP, b"a\r\n.\r", None),
        (&CIP, b"a\r\n .\r\n", None),
        (&CIP, b"a\r\n. \r\n", None),
        // The dot rules.
        (&CIP, b"..\r\n...\r\n.foo\r\n..foo\r\na.\r\n.\r\n", ok(".\r\n..\r\n.foo\r\n..foo\r\na.\r\n")),
        (&SMTP, b"..\r\n...\r\n.foo\r\n..foo\r\na.\r\n.\r\n", ok(".\r\n..\r\nfoo\r\n.foo\r\na.\r\n")),
        // Smuggling: only CRLF . CRLF ends, and what pretends to end spoils the object.
        (&SMTP, b"a\n.\r\nb\r\n.\r\n", Some(Err(LoneCrOrLf))),
        (&SMTP, b"a\r\n.\nb\r\n.\r\n", Some(Err(LoneCrOrLf))),
        (&SMTP, b"a\r.\rb\r\n.\r\n", Some(Err(LoneCrOrLf))),
        (&SMTP, b"a\r\n.\r\r\n.\r\n", Some(Err(LoneCrOrLf))),
        (&CIP, b"a\n.\n", None),
        (&CIP, b"a\0\r\n.\r\n", Some(Err(Nul))),
        // Limits: 64 octets are allowed, 65 are not; a line of 16 with its CRLF is, 17 is not.
        (&CIP, four_lines.as_bytes(), Some(Ok(four_lines.as_bytes()[..64].to_vec()))),
        (&CIP, five_lines.as_bytes(), Some(Err(TooLarge { limit: 64 }))),
        (&CIP, b"12345678901234\r\n.\r\n", ok("12345678901234\r\n")),
        (&CIP, b"123456789012345\r\n.\r\n", Some(Err(LineTooLong { limit: 16 }))),
        (&CIP, endless.as_bytes(), Some(Err(Abandon { limit: 64 }))),
        (&CIP, endless_line.as_bytes(), Some(Err(Abandon { limit: 64 }))),
    ];
    for (rule, input, want) in table {
        let (got, left) = data_of(rule, input);
        assert_eq!(&got, want, "{:?}", decode(input));
        if !matches!(want, Some(Err(Abandon { .. }))) {
            assert_eq!(left, 0, "octets after the end of {:?} were read", decode(input));
        }
    }
}

#[test]
fn what_follows_data_is_a_line_again() {
    let mut framer = Framer::new();
    framer.push(b"SENDEVENT +\r\n.\r\nNEXT\r\n");
    assert_eq!(framer.line(LINE), Some(Ok(b"SENDEVENT +".to_vec())));
    assert_eq!(framer.data(&CIP), Some(Ok(vec![])));
    assert_eq!(framer.pending(), 6);
    assert_eq!(framer.line(LINE), Some(Ok(b"NEXT".to_vec())));
    assert_eq!(framer.pending(), 0);
    framer.push(b"\r");
    assert_eq!(framer.line(LINE), None);
    assert_eq!(framer.pending(), 1);
}

#[test]
fn the_tail_of_a_line_is_known_even_when_the_line_is_not() {
    for (input, want) in [
        ("SEND +\r\n", Some(b'+')),
        ("\r\n", None),
        ("1234567890123456789+\r\n", Some(b'+')),
        ("a\nb+\r\n", Some(b'+')),
        ("+ \r\n", Some(b' ')),
    ] {
        for cut in 0..=input.len() {
            let mut framer = Framer::new();
            framer.push(&input.as_bytes()[..cut]);
            let early = framer.line(LINE);
            framer.push(&input.as_bytes()[cut..]);
            assert!(early.or_else(|| framer.line(LINE)).is_some());
            assert_eq!((framer.tail(), framer.lines()), (want, 1), "{input:?} cut at {cut}");
        }
    }
}

#[test]
fn a_chunk_is_counted_and_not_read_as_lines() {
    let mut framer = Framer::new();
    framer.push(b"a\n\0.\r\n.\r\nQUIT\r\n");
    assert_eq!(Exact::new(0, 10).read(&mut framer), Some(Ok(vec![])));
    assert_eq!(Exact::new(9, 10).read(&mut framer), Some(Ok(b"a\n\0.\r\n.\r\n".to_vec())));
    assert_eq!(framer.line(LINE), Some(Ok(b"QUIT".to_vec())));
    let mut large = Exact::new(u64::MAX, 10);
    framer.push(&[b'x'; 1000]);
    assert_eq!(large.read(&mut framer), None);
    assert_eq!(framer.pending(), 0);
    let mut over = Exact::new(11, 10);
    framer.push(b"12345678901\r\n");
    assert_eq!(over.read(&mut framer), Some(Err(DataError::TooLarge { limit: 10 })));
    assert_eq!(framer.line(LINE), Some(Ok(vec![])));
}

/// The invariant: memory stays within the limits, and the time is linear. Quadratic handling of these 4 million
/// one-octet pushes would take minutes even in a release build.
#[test]
fn endless_input_is_neither_stored_nor_quadratic() {
    let mut framer = Framer::new();
    for _ in 0..2_000_000 {
        framer.push(b"x");
        assert_eq!(framer.line(LINE), None);
    }
    assert!(framer.allocated() <= 17 << 10, "{}", framer.allocated());
    framer.push(b"\r\n");
    assert_eq!(framer.line(LINE), Some(Err(LineError::TooLong)));

    let rule = DataRule { max_line: 1 << 20, max_size: 1 << 30, ..CIP };
    for _ in 0..1_000_000 {
        framer.push(b"x");
        assert_eq!(framer.data(&rule), None);
    }
    framer.push(b"\r\n.\r\n");
    assert_eq!(framer.data(&rule).map(|d| d.map(|d| d.len())), Some(Ok(1_000_002)));

    // Many lines in one push, pulled one by one with pushes in between.
    let mut framer = Framer::new();
    framer.push(&b"x\r\n".repeat(300_000));
    for _ in 0..300_000 {
        assert_eq!(framer.line(LINE), Some(Ok(b"x".to_vec())));
        framer.push(b"y\r\n");
    }
    assert_eq!(framer.pending(), 900_000);
    assert!(framer.allocated() < 4_000_000, "{}", framer.allocated());
}

#[test]
fn lone_cr_and_lf_are_found() {
    for good in ["", "a", "\r\n", "a\r\nb\r\n", "\r\n\r\n"] {
        assert!(!has_lone_cr_or_lf(good.as_bytes()), "{good:?}");
    }
    for bad in ["\r", "\n", "a\n", "a\rb", "\r\r\n", "\r\n\n", "a\r\nb\r", "\n\r"] {
        assert!(has_lone_cr_or_lf(bad.as_bytes()), "{bad:?}");
    }
}

#[test]
fn data_is_written_with_its_terminator() {
    let table: &[(&str, DotRule, &str)] = &[
        ("", DotRule::Cip, ".\r\n"),
        ("a", DotRule::Cip, "a\r\n.\r\n"),
        ("a\r\n", DotRule::Cip, "a\r\n.\r\n"),
        (".\r\n..\r\n.a\r\n", DotRule::Cip, "..\r\n...\r\n.a\r\n.\r\n"),
        (".\r\n..\r\n.a\r\n", DotRule::Smtp, "..\r\n...\r\n..a\r\n.\r\n"),
        (".", DotRule::Cip, "..\r\n.\r\n"),
        (".", DotRule::Smtp, "..\r\n.\r\n"),
    ];
    for (octets, dots, want) in table {
        let mut out = Vec::new();
        write_data(octets.as_bytes(), *dots, &mut out);
        assert_eq!(decode(&out), *want, "{octets:?} {dots:?}");
    }
}

proptest! {
    /// Whatever lines are written come back, under both rules, wherever the stream is cut.
    #[test]
    fn written_data_is_read_back(
        content in prop::collection::vec("[.]{0,4}[a-z\u{e9}.]{0,3}", 0..12),
        smtp: bool,
        cuts in prop::collection::vec(0usize..200, 0..6),
    ) {
        let octets: Vec<u8> = content.iter().flat_map(|l| format!("{l}\r\n").into_bytes()).collect();
        let dots = if smtp { DotRule::Smtp } else { DotRule::Cip };
        let mut sent = Vec::new();
        write_data(&octets, dots, &mut sent);
        let rule = DataRule { dots, max_line: 64, max_size: 4096, nul: false };
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(sent.len())).chain([0, sent.len()]).collect();
        cuts.sort_unstable();
        let mut framer = Framer::new();
        let mut got = Vec::new();
        for pair in cuts.windows(2) {
            framer.push(&sent[pair[0]..pair[1]]);
            got.extend(framer.data(&rule).filter(|_| pair[1] == sent.len()));
        }
        prop_assert_eq!(got, vec![Ok(octets)]);
    }

    /// Any octets at all: cutting them differently changes nothing, and no good line holds a CR or LF.
    #[test]
    fn cuts_change_nothing(input in prop::collection::vec(prop::sample::select(b"\r\n.a\0".to_vec()), 0..80), cut in 0usize..80) {
        let mut whole = Framer::new();
        whole.push(&input);
        let whole = lines(&mut whole);
        let mut parts = Framer::new();
        let cut = cut.min(input.len());
        parts.push(&input[..cut]);
        let mut got = lines(&mut parts);
        parts.push(&input[cut..]);
        got.extend(lines(&mut parts));
        prop_assert_eq!(&got, &whole);
        prop_assert!(whole.iter().flatten().all(|l| !l.contains(&b'\r') && !l.contains(&b'\n')));
    }
}
