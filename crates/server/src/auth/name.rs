//! Decodes the operator's name in a proxy's header: plain UTF-8, or the extended value of RFC 8187
//! (`UTF-8'en'J%C3%BCrgen`), which is ASCII.

/// The decoded name. The caller checks whether it is acceptable.
///
/// # Errors
/// The fault, as the end of a sentence.
pub(super) fn decode(value: &[u8]) -> Result<String, &'static str> {
    let text = std::str::from_utf8(value).map_err(|_| "it is not UTF-8")?;
    match extended(text) {
        None => Ok(text.to_owned()),
        Some(encoded) => percent_decoded(encoded),
    }
}

/// The encoded part of an extended value, after charset and language; `None` for a plain value.
fn extended(text: &str) -> Option<&str> {
    let mut parts = text.splitn(3, '\'');
    let (charset, language, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    let mut language = language.bytes();
    let is_language = language.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (charset.eq_ignore_ascii_case("utf-8") && is_language).then_some(encoded)
}

fn percent_decoded(encoded: &str) -> Result<String, &'static str> {
    const BROKEN: &str = "its percent-encoding is broken";
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = digit().zip(digit()).ok_or(BROKEN)?;
                bytes.push(u8::try_from(high * 16 + low).map_err(|_| BROKEN)?);
            }
            _ if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) => {
                bytes.push(byte);
            }
            _ => return Err("it has characters that RFC 8187 requires to be percent-encoded"),
        }
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 once decoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_plain_utf_8_and_rfc_8187_values() {
        for (value, name) in [
            ("ann", "ann"),
            ("Jürgen Groß", "Jürgen Groß"),
            ("山田", "山田"),
            ("UTF-8''J%C3%BCrgen", "Jürgen"),
            ("utf-8'de-AT'J%c3%bcrgen%20Gro%C3%9f", "Jürgen Groß"),
            ("UTF-8''%E5%B1%B1%E7%94%B0", "山田"),
            ("UTF-8''", ""),
            ("O'Brien", "O'Brien"),
            ("d'Artagnan d'Or", "d'Artagnan d'Or"),
            ("100%", "100%"),
            ("iso-8859-1''J%FCrgen", "iso-8859-1''J%FCrgen"),
        ] {
            assert_eq!(decode(value.as_bytes()).unwrap(), name, "{value}");
        }
    }

    #[test]
    fn refuses_other_values_with_the_reason() {
        for (value, why) in [
            (&b"J\xfcrgen"[..], "not UTF-8"),
            (b"ann\xc3", "not UTF-8"),
            (b"\xed\xa0\x80", "not UTF-8"),
            (b"UTF-8''J%FCrgen", "not UTF-8 once"),
            (b"UTF-8''%C3", "not UTF-8 once"),
            (b"UTF-8''%C", "percent-encoding"),
            (b"UTF-8''%", "percent-encoding"),
            (b"UTF-8''%+1", "percent-encoding"),
            (b"UTF-8''ann, bob", "RFC 8187"),
            ("UTF-8''Jürgen".as_bytes(), "RFC 8187"),
        ] {
            let refused = decode(value).unwrap_err();
            assert!(refused.contains(why), "{value:?}: {refused}");
        }
    }
}
