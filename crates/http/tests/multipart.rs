//! Forms with files: vectors of what browsers, curl and others send, what is refused, limits, and
//! a naive oracle beside every cut.

#[allow(dead_code, reason = "the fuzzer uses what is left")]
mod form_support;

use form_support::{Got, Outcome, TIGHT, check, read};
use loopwork_http::core;
use loopwork_http::forms::multipart::{Event, Limits, Malformed, Multipart};
use proptest::prelude::*;

const KIND: &[u8] = b"multipart/form-data; boundary=xyz";

/// `check`, at every cut, and with bytes behind it.
fn all(kind: &[u8], bytes: &[u8], limits: Limits) -> Outcome {
    let whole = check(kind, bytes, limits, 1);
    for cut in 1..bytes.len() {
        let mut first = Some(cut);
        let cut_once = read(kind, bytes, limits, || first.take().unwrap_or(usize::MAX));
        assert_eq!(cut_once, whole, "cut at {cut}");
        // A part of it is an error or too short, and shows nothing that the whole does not.
        let (parts, verdict) = check(kind, &bytes[..cut], limits, 2);
        assert!(verdict.is_ok() || parts.len() <= whole.0.len());
    }
    if whole.1.is_ok() {
        let (parts, verdict) = check(kind, &[bytes, b"\r\n--xyz"].concat(), limits, 3);
        assert_eq!((parts, verdict), whole, "with an epilogue");
    }
    whole
}

fn good(kind: &str, text: &str) -> Vec<Got> {
    let (parts, verdict) = all(kind.as_bytes(), text.as_bytes(), Limits::default());
    assert_eq!(verdict, Ok(()), "{text:?}");
    assert!(parts.iter().all(|part| part.ended));
    parts
}

/// Names, file names and data, of a form with the boundary `xyz`.
fn fields(text: &str) -> Vec<(String, Option<String>, String)> {
    let parts = good("multipart/form-data; boundary=xyz", text);
    let data = |data: Vec<u8>| String::from_utf8(data).unwrap();
    parts.into_iter().map(|part| (part.name, part.file_name, data(part.data))).collect()
}

fn field(name: &str, data: &str) -> (String, Option<String>, String) {
    (name.to_owned(), None, data.to_owned())
}

/// A form of one part with this disposition.
fn one(disposition: &str) -> String {
    format!("--xyz\r\nContent-Disposition: {disposition}\r\n\r\ndata\r\n--xyz--\r\n")
}

#[test]
fn what_browsers_send() {
    let kind = "multipart/form-data; boundary=----WebKitFormBoundaryQ1";
    let text = "------WebKitFormBoundaryQ1\r\n\
         Content-Disposition: form-data; name=\"text\"\r\n\r\n\
         hello\r\nworld\r\n\
         ------WebKitFormBoundaryQ1\r\n\
         Content-Disposition: form-data; name=\"a%22b%0D%0A%\"; filename=\"C:\\dir\\欢.txt\"\r\n\
         Content-Type: text/plain\r\n\r\n\
         -----WebKitFormBoundaryQ1\r\n\
         ------WebKitFormBoundaryQ\r\n\r\r\n\r\n\
         ------WebKitFormBoundaryQ1\r\n\
         Content-Disposition: form-data; name=\"none\"; filename=\"\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n\r\n\
         ------WebKitFormBoundaryQ1--\r\n";
    let parts = good(kind, text);
    let names: Vec<_> = parts.iter().map(|p| (&p.name[..], p.file_name.as_deref())).collect();
    assert_eq!(names, [("text", None), ("a\"b\r\n%", Some("C:\\dir\\欢.txt")), ("none", Some(""))]);
    let data: Vec<_> = parts.iter().map(|p| std::str::from_utf8(&p.data).unwrap()).collect();
    let file = "-----WebKitFormBoundaryQ1\r\n------WebKitFormBoundaryQ\r\n\r\r\n";
    assert_eq!(data, ["hello\r\nworld", file, ""]);
    assert_eq!(parts[1].lines[1], ("Content-Type".to_owned(), b"text/plain".to_vec()));
}

#[test]
fn what_the_grammar_allows() {
    assert_eq!(fields("--xyz--"), []);
    assert_eq!(fields("\r\n--xyz--\r\n"), []);
    assert_eq!(fields("preamble\r\n--xyz--epilogue"), []);
    assert_eq!(fields(&one("form-data; name=a")), [field("a", "data")]);
    assert_eq!(fields(&one("FORM-DATA;;NAME = a").replace(" = ", "=")), [field("a", "data")]);
    assert_eq!(fields(&one("form-data ; name=\"\" ; x=\"; name=b\"")), [field("", "data")]);
    // Of a part that has no data the empty line may be the delimiter's.
    let head = "Content-Disposition: form-data; name=a\r\n\r\n";
    assert_eq!(fields(&format!("--xyz\r\n{head}--xyz--")), [field("a", "")]);
    assert_eq!(fields(&format!("--xyz\r\n{head}\r\n--xyz--")), [field("a", "")]);
    assert_eq!(fields(&format!("--xyz\r\n{head}-\r\n--xyz--")), [field("a", "-")]);
    assert_eq!(fields(&format!("--xyz \t\r\n{head}\r\n\r\n--xyz--")), [field("a", "\r\n")]);
    // What looks like a delimiter, and is none.
    for data in ["\r", "\r\r", "\r\n", "\r\n--", "\r\n--xy", "\r\n\r\n--xy\r\n--", "--xy\r\n-"] {
        let text = format!("--xyz\r\n{head}{data}\r\n--xyz--");
        assert_eq!(fields(&text), [field("a", data)], "{data:?}");
    }
}

#[test]
fn types_and_boundaries() {
    let long = "b".repeat(70);
    for (kind, boundary) in [
        ("multipart/form-data; boundary=a", "a"),
        ("Multipart/Form-Data;charset=utf-8;BOUNDARY=\"a b?\"", "a b?"),
        ("multipart/form-data; boundary=\"'()+_,-./:=?\"", "'()+_,-./:=?"),
        (&format!("multipart/form-data; boundary={long}"), &long),
    ] {
        let head = "Content-Disposition: form-data; name=a\r\n\r\n";
        let text = format!("--{boundary}\r\n{head}data\r\n--{boundary}--");
        assert_eq!(good(kind, &text)[0].data, b"data", "{kind}");
    }
    for kind in [
        "",
        "multipart/form-data",
        "multipart/form-data; boundary",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=\"a ",
        "multipart/form-data; boundary=\"a \"",
        "multipart/form-data; boundary=\"a\\\"\"",
        "multipart/form-data; boundary=a; boundary=a",
        "multipart/form-data; boundary=a b",
        "multipart/form-data; boundary=a/b",
        "multipart/form-data; boundary =a",
        "multipart/mixed; boundary=a",
        "application/x-www-form-urlencoded",
        &format!("multipart/form-data; boundary={long}b"),
    ] {
        let outcome = check(kind.as_bytes(), b"--a--", Limits::default(), 1);
        assert_eq!(outcome, (vec![], Err(Malformed::NotAForm)), "{kind}");
    }
    assert_eq!(Malformed::NotAForm.status(), 415);
}

#[test]
fn what_is_refused() {
    let refused = |text: &str| all(KIND, text.as_bytes(), Limits::default()).1.unwrap_err();
    for disposition in [
        "form-data",
        "form-data; filename=a",
        "attachment; name=a",
        "form-data; name=a; name=a",
        "form-data; name=a; filename=b; FileName=c",
        "form-data; name",
        "form-data; name=",
        "form-data; name=\"a",
        "form-data; name=a b",
        "form-data; name=\"a\"b",
        // Is the name `a"`, or `a\`?
        "form-data; name=\"a\\\"; filename=\"b\"",
        "form-data; name=\"a\\\"\"",
        "form-data; =a",
        "form-data name=a",
        "form-data; name=a\r\nContent-Disposition: form-data; name=b",
    ] {
        assert_eq!(refused(&one(disposition)), Malformed::Disposition, "{disposition}");
    }
    assert_eq!(refused("--xyz\r\n\r\ndata\r\n--xyz--"), Malformed::Disposition);
    let head = "--xyz\r\nContent-Disposition: form-data; name=a\r\n\r\n";
    for tail in ["x", "\n", "-x", " x", "\rx", "z--", "--", "\t-"] {
        let text = format!("{head}data\r\n--xyz{tail}\r\n--xyz--");
        let expected = if tail == "--" { None } else { Some(Malformed::Delimiter) };
        assert_eq!(all(KIND, text.as_bytes(), Limits::default()).1.err(), expected, "{tail:?}");
    }
    for (lines, why) in [
        ("A: b\nC: d", core::Malformed::BareLf),
        ("A: b\r\n c", core::Malformed::ObsFold),
        ("A : b", core::Malformed::WhitespaceBeforeColon),
        ("A: \0", core::Malformed::InvalidHeaderValue),
        ("A", core::Malformed::MissingColon),
    ] {
        let text = one(&format!("form-data; name=a\r\n{lines}"));
        assert_eq!(refused(&text), Malformed::Head(why), "{lines:?}");
    }
    for text in ["", "--xyz", "--xy--", "\r\n", head, &head[..20], "--xyz\r\n", "--xyz-"] {
        assert_eq!(check(KIND, text.as_bytes(), Limits::default(), 1).1, Err(Malformed::Truncated));
    }
}

#[test]
fn each_limit_holds_and_one_less_is_taken() {
    let part =
        |n: usize| format!("--xyz\r\nContent-Disposition: form-data; name=a{n}\r\n\r\nd\r\n");
    let wide = Limits::default();
    let form = |n: usize| (0..n).map(part).collect::<String>() + "--xyz--";
    let of = |text: &str, limits| all(KIND, text.as_bytes(), limits).1;
    let parts = Limits { parts: 3, ..wide };
    assert_eq!((of(&form(3), parts), of(&form(4), parts)), (Ok(()), Err(Malformed::TooManyParts)));
    let size = form(2).len() as u64;
    let fits = Limits { body_bytes: size + 9, ..wide };
    assert_eq!(of(&form(2), fits), Ok(()));
    let small = Limits { body_bytes: size - 1, ..wide };
    assert_eq!(of(&form(2), small), Err(Malformed::TooLarge));
    let head = "Content-Disposition: form-data; name=a0\r\n\r\n".len() as u32;
    let too_long = Malformed::Head(core::Malformed::HeadTooLarge);
    assert_eq!(of(&form(1), Limits { head_bytes: head, ..wide }), Ok(()));
    assert_eq!(of(&form(1), Limits { head_bytes: head - 1, ..wide }), Err(too_long));
    let too_many = Malformed::Head(core::Malformed::TooManyHeaders);
    assert_eq!(of(&form(1), Limits { headers: 0, ..wide }), Err(too_many));
    let outside = Limits { outside_bytes: 20, ..wide };
    for (text, good) in [
        (format!("{}\r\n--xyz--", "p".repeat(10)), true),
        (format!("{}\r\n--xyz--", "p".repeat(21)), false),
        (format!("\r\n--xyz{}\r\n", " ".repeat(21)), false),
        (format!("--xyz--{}", "e".repeat(10)), true),
        (format!("--xyz--{}", "e".repeat(21)), false),
        (format!("\r\n--xy{}", "\r\n--xy".repeat(4)), false),
    ] {
        let verdict = check(KIND, text.as_bytes(), outside, 1).1;
        assert_eq!(verdict, if good { Ok(()) } else { Err(Malformed::TooMuchOutside) }, "{text}");
    }
    for why in [Malformed::TooManyParts, Malformed::TooLarge, Malformed::TooMuchOutside, too_long] {
        assert_eq!(why.status(), 413);
    }
    assert_eq!((Malformed::Delimiter.status(), Malformed::Truncated.status()), (400, 400));
}

#[test]
fn who_stops_gets_the_rest_later() {
    let text = one("form-data; name=a");
    let mut form = Multipart::new(KIND, Limits::default()).unwrap();
    let mut rest = text.as_bytes();
    assert!(matches!(form.next(&mut rest), Ok(Some(Event::Part(part))) if part.name == "a"));
    assert!(rest.starts_with(b"data"), "the rest is not used");
    assert!(matches!(form.next(&mut rest), Ok(Some(Event::Data(b"data")))));
    let (left, mut later) = (rest.len(), rest);
    assert!(left > 0 && matches!(form.next(&mut later), Ok(Some(Event::PartEnd))));
    assert!(matches!(form.next(&mut later), Ok(Some(Event::End))));
    assert!(matches!(form.next(&mut later), Ok(None)) && form.finish() == Ok(()));
}

/// Pieces that meet what matters at every turn.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    const WORDS: [&[u8]; 21] = [
        b"\r\n--xyz\r\n",
        b"\r\n--xyz--",
        b"--xyz",
        b"--xyz\r\n",
        b"\r\n--xy",
        b"\r\n",
        b"\r\n\r\n",
        b"\r",
        b"\n",
        b"-",
        b"Content-Disposition: form-data; name=a\r\n\r\n",
        b"content-disposition:form-data;filename=\"b%22\";name=\"a\\c\"\r\n",
        b"Content-Disposition: form-data; name=\"a",
        b"\"",
        b";",
        b"X: y\r\n",
        b":",
        b" ",
        b"data",
        b"\xff\0",
        b"%0d",
    ];
    let word = prop::sample::select(&WORDS[..]);
    prop::collection::vec(word, 0..14).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn any_cut_is_what_the_oracle_says(body in pieces(), begun: bool, seed: u64) {
        let head = &b"--xyz\r\nContent-Disposition: form-data; name=a\r\n\r\n"[..];
        let bytes = if begun { [head, &body].concat() } else { body };
        for limits in [Limits::default(), TIGHT] {
            let _ = check(KIND, &bytes, limits, seed);
        }
    }

    #[test]
    fn types_are_what_the_oracle_says(kind in "(multipart/form-data)?[ ;]{0,2}\
        (boundary|b)?=?\"?[a-z\\\\\"' ;=?]{0,6}\"?(; ?[a-z]=\"?[;a\"]{0,3})?") {
        let _ = check(kind.as_bytes(), b"--a--", Limits::default(), 1);
    }

    #[test]
    fn what_is_put_in_comes_out(
        data in prop::collection::vec((any::<String>(), any::<Vec<u8>>()), 0..5),
        seed: u64,
    ) {
        let (mut text, mut expected) = (Vec::new(), Vec::new());
        for (name, bytes) in data {
            let name: String = name.chars().filter(|c| !c.is_control()).collect();
            let name = name.replace('%', "");
            let name = name.trim_end_matches('\\').to_owned();
            let line = name.replace('"', "%22");
            text.extend(b"--xyz\r\nContent-Disposition: form-data; name=\"");
            text.extend(format!("{line}\"\r\n\r\n").into_bytes());
            text.extend(&bytes);
            text.extend(b"\r\n");
            expected.push((name, bytes));
        }
        text.extend(b"--xyz--\r\n");
        let (parts, verdict) = check(KIND, &text, Limits::default(), seed);
        prop_assert_eq!(verdict, Ok(()));
        let got: Vec<_> = parts.into_iter().map(|part| (part.name, part.data)).collect();
        prop_assert_eq!(got, expected);
    }
}
