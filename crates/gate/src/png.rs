//! Encodes a screen as PNG. The encoder is as simple as possible: rows without filters, in blocks
//! that are stored instead of compressed.

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// Maximum size of an encoded picture.
const PNG_MAX_BYTES: usize = 4 << 20;

/// Whether `bytes` begin with the signature of a PNG.
pub(crate) fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(&SIGNATURE)
}

/// Encodes a PPM (P6, as QEMU's `screendump` writes it) as PNG of at most 4 MiB; returns a PNG as it
/// is. A larger picture becomes grey, and has only every second pixel if necessary.
///
/// # Errors
/// `picture` is neither, is truncated, or is too large.
pub(crate) fn encode(picture: Vec<u8>) -> Result<Vec<u8>, String> {
    if is_png(&picture) {
        return match picture.len() {
            ..=PNG_MAX_BYTES => Ok(picture),
            _ => Err("the picture of the screen is larger than 4 MiB".to_owned()),
        };
    }
    let ppm =
        ppm(&picture).ok_or("the screen that QEMU returned is not a picture, or is truncated")?;
    let pixels = ppm.width * ppm.height;
    let step = if pixels < PNG_MAX_BYTES { 1 } else { 2 };
    let is_grey = pixels > PNG_MAX_BYTES / 3;
    let mut rows = Vec::new();
    for row in ppm.pixels.chunks_exact(ppm.width * 3).step_by(step) {
        // No filter.
        rows.push(0);
        for pixel in row.chunks_exact(3).step_by(step) {
            if is_grey {
                rows.extend(pixel.iter().max());
            } else {
                rows.extend(pixel);
            }
        }
    }
    let side = |side: usize| {
        u32::try_from(side.div_ceil(step))
            .unwrap_or(0)
            .to_be_bytes()
    };
    let mut header = [side(ppm.width), side(ppm.height)].concat();
    // Eight bits for each colour; no interlacing.
    header.extend([8, if is_grey { 0 } else { 2 }, 0, 0, 0]);
    let mut png = SIGNATURE.to_vec();
    chunk(&mut png, *b"IHDR", &header);
    chunk(&mut png, *b"IDAT", &stored(&rows));
    chunk(&mut png, *b"IEND", &[]);
    Ok(png)
}

struct Ppm<'a> {
    width: usize,
    height: usize,
    pixels: &'a [u8],
}

fn ppm(picture: &[u8]) -> Option<Ppm<'_>> {
    let mut rest = picture.strip_prefix(b"P6")?;
    let mut number = || {
        let start = rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let word = rest.get(start..)?;
        let end = word.iter().position(u8::is_ascii_whitespace)?;
        rest = word.get(end..)?;
        std::str::from_utf8(word.get(..end)?)
            .ok()?
            .parse::<usize>()
            .ok()
    };
    let (width, height, depth) = (number()?, number()?, number()?);
    let sides = 1..=16_384;
    if !sides.contains(&width) || !sides.contains(&height) || depth != 255 {
        return None;
    }
    // One space follows the header.
    let pixels = rest.get(1..)?.get(..width * height * 3)?;
    Some(Ppm {
        width,
        height,
        pixels,
    })
}

/// A zlib stream (RFC 1950) of stored blocks (RFC 1951).
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = bytes.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(0);
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend([length.to_le_bytes(), (!length).to_le_bytes()].concat());
        stream.extend(block);
    }
    let (a, b) = bytes.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    stream.extend((b << 16 | a).to_be_bytes());
    stream
}

fn chunk(png: &mut Vec<u8>, kind: [u8; 4], content: &[u8]) {
    png.extend(u32::try_from(content.len()).unwrap_or(0).to_be_bytes());
    let checked = [kind.as_slice(), content].concat();
    let sum = checked.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 {
                sum >> 1 ^ 0xedb8_8320
            } else {
                sum >> 1
            }
        })
    });
    png.extend(checked);
    png.extend((!sum).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    /// The header and the rows of a picture, decoded by another implementation that checks sums.
    fn read(png: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (mut rest, mut parts) = (png.strip_prefix(&SIGNATURE).unwrap(), Vec::new());
        while !rest.is_empty() {
            let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let (sealed, sum) = (&rest[4..8 + length], &rest[8 + length..12 + length]);
            let mut crc = flate2::Crc::new();
            crc.update(sealed);
            assert_eq!(crc.sum().to_be_bytes(), sum);
            parts.push((sealed[..4].to_vec(), sealed[4..].to_vec()));
            rest = &rest[12 + length..];
        }
        let kinds: Vec<&[u8]> = parts.iter().map(|(kind, _)| kind.as_slice()).collect();
        assert_eq!(kinds, [b"IHDR", b"IDAT", b"IEND"]);
        let mut rows = Vec::new();
        let stream = flate2::read::ZlibDecoder::new(parts[1].1.as_slice());
        stream.take(1 << 24).read_to_end(&mut rows).unwrap();
        (parts[0].1.clone(), rows)
    }

    fn picture(width: usize, height: usize) -> Vec<u8> {
        let mut ppm = format!("P6\n{width} {height}\n255\n").into_bytes();
        ppm.extend((0..=250_u8).cycle().take(width * height * 3));
        ppm
    }

    #[test]
    fn pixels_of_a_console_are_unchanged() {
        let ppm = picture(720, 400);
        let (header, rows) = read(&encode(ppm.clone()).unwrap());
        assert_eq!(header, [0, 0, 2, 208, 0, 0, 1, 144, 8, 2, 0, 0, 0]);
        let pixels = &ppm[ppm.len() - 720 * 400 * 3..];
        let expected: Vec<u8> = pixels
            .chunks(720 * 3)
            .flat_map(|row| [&[0], row].concat())
            .collect();
        assert!(rows == expected);
    }

    #[test]
    fn large_screen_becomes_grey_and_a_huge_one_is_halved() {
        for (side, header) in [
            ((1920, 1080), [0, 0, 7, 128, 0, 0, 4, 56, 8, 0, 0, 0, 0]),
            ((3840, 2160), [0, 0, 7, 128, 0, 0, 4, 56, 8, 0, 0, 0, 0]),
        ] {
            let png = encode(picture(side.0, side.1)).unwrap();
            assert!(png.len() <= PNG_MAX_BYTES);
            let (seen, rows) = read(&png);
            assert_eq!((seen, rows.len()), (header.to_vec(), 1921 * 1080));
        }
    }

    #[test]
    fn png_is_unchanged_unless_it_is_too_large() {
        let png = encode(picture(3, 2)).unwrap();
        assert_eq!(encode(png.clone()).unwrap(), png);
        assert!(encode([png, vec![0; PNG_MAX_BYTES]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn bytes_that_are_not_a_picture_are_an_error(
            width in 0_usize..9, height in 0_usize..9, cut in 0_usize..300, junk in any::<Vec<u8>>(),
        ) {
            prop_assert!(encode(junk).is_err());
            let mut ppm = picture(width, height);
            ppm.truncate(cut);
            let whole = cut >= picture(width, height).len() && width * height > 0;
            prop_assert_eq!(encode(ppm).is_ok(), whole);
        }
    }
}
