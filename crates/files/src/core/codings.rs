//! Which compressed forms of a file a client takes, the best first (RFC 9110 §12.5.3).
//!
//! Rule: what cannot be understood is passed over; who takes nothing else gets the file as it is.

/// A form of a file that lies beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coding {
    /// `br` (RFC 7932), in `.br`.
    Brotli,
    /// `zstd` (RFC 8878), in `.zst`.
    Zstd,
    /// `gzip` (RFC 1952), in `.gz`.
    Gzip,
}

impl Coding {
    /// Smallest first, as a rule: who takes several equally gets the first.
    pub(crate) const ALL: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

    /// What `Content-Encoding` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }

    /// What is behind the name of a file in this form.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Coding::Brotli => ".br",
            Coding::Zstd => ".zst",
            Coding::Gzip => ".gz",
        }
    }
}

/// `Accept-Encoding = #( codings [ weight ] )`, `codings = content-coding / "identity" / "*"`
/// (§12.5.3), member by member: the forms that are to be preferred to the file as it is. Who says
/// nothing is sent that.
pub fn codings<'a>(members: impl Iterator<Item = &'a [u8]>) -> Vec<Coding> {
    // In thousandths: of each form, of the file as it is, of all that are not named.
    let (mut named, mut identity, mut others) = ([None; 3], None, None);
    for member in members {
        let mut parts = member.splitn(2, |b| *b == b';');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let Some(weight) = parts.next().map_or(Some(1000), weight) else { continue };
        let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        // §8.4.1.3: "x-gzip" is to be taken for "gzip".
        let place = Coding::ALL
            .iter()
            .position(|coding| is(coding.name()) || *coding == Coding::Gzip && is("x-gzip"));
        match place {
            Some(place) => named[place] = Some(weight),
            None if is("identity") => identity = Some(weight),
            None if is("*") => others = Some(weight),
            None => {}
        }
    }
    let least = identity.unwrap_or(0);
    let weighed = Coding::ALL.into_iter().zip(named.map(|w| w.or(others).unwrap_or(0)));
    let mut taken: Vec<_> = weighed.filter(|(_, w)| *w > 0 && *w >= least).collect();
    taken.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    taken.into_iter().map(|(coding, _)| coding).collect()
}

/// `weight = OWS ";" OWS "q=" qvalue`,
/// `qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )` (§12.4.2), in thousandths.
fn weight(text: &[u8]) -> Option<u16> {
    let text = text.trim_ascii();
    let value = text.strip_prefix(b"q=").or_else(|| text.strip_prefix(b"Q="))?;
    let (whole, digits) = match value {
        [whole] => (whole, &b""[..]),
        [whole, b'.', digits @ ..] => (whole, digits),
        _ => return None,
    };
    if digits.len() > 3 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = digits.iter().chain(b"000").take(3);
    let thousandths = digits.fold(0, |sum, digit| 10 * sum + u16::from(digit - b'0'));
    match whole {
        b'0' => Some(thousandths),
        b'1' if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Coding::{Brotli, Gzip, Zstd};
    use super::*;

    #[test]
    fn forms_by_weight() {
        for (header, wanted) in [
            ("", &[][..]),
            ("gzip", &[Gzip]),
            ("GZIP", &[Gzip]),
            ("x-gzip", &[Gzip]),
            ("deflate", &[]),
            ("gzip, deflate, br, zstd", &[Brotli, Zstd, Gzip]),
            ("gzip;q=1.0, br;q=0.5", &[Gzip, Brotli]),
            ("gzip ; q=0.001,br;q=0.000", &[Gzip]),
            ("br;q=0", &[]),
            ("*", &[Brotli, Zstd, Gzip]),
            ("*;q=0.5, gzip", &[Gzip, Brotli, Zstd]),
            ("*, br;q=0", &[Zstd, Gzip]),
            ("*;q=0", &[]),
            ("identity, gzip;q=0.5", &[]),
            ("identity;q=0.5, gzip;q=0.5", &[Gzip]),
            ("identity;q=0, gzip;q=0.1", &[Gzip]),
            // What is no weight makes the member none.
            ("gzip;q=2, br;q=0.1234, zstd;q=1.001", &[]),
            ("gzip;q=, br;level=1, zstd;q=.5", &[]),
        ] {
            let members = header.as_bytes().split(|b| *b == b',');
            assert_eq!(codings(members.map(<[u8]>::trim_ascii)), wanted, "{header}");
        }
    }

    #[test]
    fn weights() {
        for (text, wanted) in [
            ("q=0", Some(0)),
            ("q=0.", Some(0)),
            ("q=0.5", Some(500)),
            ("q=0.05", Some(50)),
            ("Q=0.999", Some(999)),
            ("q=1.000", Some(1000)),
            ("q=1.1", None),
            ("q=-0", None),
            ("q=01", None),
            ("", None),
        ] {
            assert_eq!(weight(text.as_bytes()), wanted, "{text}");
        }
    }
}
