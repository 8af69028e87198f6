//! A screen as PNG. The encoder is as small as it can be read: rows without filter, in blocks that
//! are stored, not compressed.

/// What every PNG begins with.
const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// Largest picture that is handed out.
const LARGEST: usize = 4 << 20;

/// Whether these bytes are a PNG, by its signature.
pub(crate) fn is(bytes: &[u8]) -> bool {
    bytes.starts_with(&SIGNATURE)
}

/// The picture as PNG of at most 4 MiB: itself if it is one, else made from a PPM (P6, as QEMU's
/// `screendump` writes it). What would be larger is grey, and if need be only every second pixel.
///
/// # Errors
/// When it is neither, is cut off, or is too large.
pub(crate) fn from(picture: Vec<u8>) -> Result<Vec<u8>, String> {
    if is(&picture) {
        return match picture.len() {
            ..=LARGEST => Ok(picture),
            _ => Err("the picture of the screen is larger than 4 MiB".to_owned()),
        };
    }
    let ppm = ppm(&picture).ok_or("what came as the screen is no picture, or cut off")?;
    let pixels = ppm.width * ppm.height;
    let (step, grey) = (if pixels < LARGEST { 1 } else { 2 }, pixels > LARGEST / 3);
    let mut rows = Vec::new();
    for row in ppm.pixels.chunks_exact(ppm.width * 3).step_by(step) {
        // No filter.
        rows.push(0);
        for pixel in row.chunks_exact(3).step_by(step) {
            match grey {
                true => rows.extend(pixel.iter().max()),
                false => rows.extend(pixel),
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
    header.extend([8, if grey { 0 } else { 2 }, 0, 0, 0]);
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
    let fits = (1..=16_384).contains(&width) && (1..=16_384).contains(&height) && depth == 255;
    // One white space after the header.
    let pixels = rest.get(1..)?.get(
        ..if fits {
            width * height * 3
        } else {
            return None;
        },
    )?;
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
    let sealed = [kind.as_slice(), content].concat();
    let sum = sealed.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 {
                sum >> 1 ^ 0xedb8_8320
            } else {
                sum >> 1
            }
        })
    });
    png.extend(sealed);
    png.extend((!sum).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    /// The header and the rows of a picture, by another reader; checksums hold.
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
    fn every_pixel_of_a_console_comes_as_it_was() {
        let ppm = picture(720, 400);
        let (header, rows) = read(&from(ppm.clone()).unwrap());
        assert_eq!(header, [0, 0, 2, 208, 0, 0, 1, 144, 8, 2, 0, 0, 0]);
        let pixels = &ppm[ppm.len() - 720 * 400 * 3..];
        let expected: Vec<u8> = pixels
            .chunks(720 * 3)
            .flat_map(|row| [&[0], row].concat())
            .collect();
        assert!(rows == expected);
    }

    #[test]
    fn a_large_screen_becomes_grey_and_a_huge_one_half_as_wide_and_fits() {
        for (side, header) in [
            ((1920, 1080), [0, 0, 7, 128, 0, 0, 4, 56, 8, 0, 0, 0, 0]),
            ((3840, 2160), [0, 0, 7, 128, 0, 0, 4, 56, 8, 0, 0, 0, 0]),
        ] {
            let png = from(picture(side.0, side.1)).unwrap();
            assert!(png.len() <= LARGEST);
            let (seen, rows) = read(&png);
            assert_eq!((seen, rows.len()), (header.to_vec(), 1921 * 1080));
        }
    }

    #[test]
    fn a_png_stays_as_it_is_unless_it_is_too_large() {
        let png = from(picture(3, 2)).unwrap();
        assert_eq!(from(png.clone()).unwrap(), png);
        assert!(from([png, vec![0; LARGEST]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn what_is_no_picture_is_said_to_be_none(
            width in 0_usize..9, height in 0_usize..9, cut in 0_usize..300, junk in any::<Vec<u8>>(),
        ) {
            prop_assert!(from(junk).is_err());
            let mut ppm = picture(width, height);
            ppm.truncate(cut);
            let whole = cut >= picture(width, height).len() && width * height > 0;
            prop_assert_eq!(from(ppm).is_ok(), whole);
        }
    }
}
