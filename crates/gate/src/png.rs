//! A screen as PNG. The encoder is as small as it can be read: a palette, rows without filter, and
//! blocks that are stored, not compressed.

use std::collections::HashMap;

/// What every PNG begins with.
const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// Largest picture that is handed out.
const LARGEST: usize = 4 << 20;

/// Whether these bytes are a PNG, by its signature.
pub(crate) fn is(bytes: &[u8]) -> bool {
    bytes.starts_with(&SIGNATURE)
}

/// The picture as PNG: itself if it is one, else made from a PPM (P6, as QEMU's `screendump` writes
/// it) of at most 4 MiB pixels; of a larger one only every second pixel and row.
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
    let step = if ppm.width * ppm.height < LARGEST {
        1
    } else {
        2
    };
    // Text has few colours and keeps them all; a picture of a desktop gets coarser ones.
    let found = [0xff, 0xf8, 0xf0, 0xe0]
        .into_iter()
        .find_map(|mask| index(&ppm, step, mask));
    let (palette, rows) = found.unwrap_or_else(|| index(&ppm, step, 0xc0).unwrap_or_default());
    let [width, height] =
        [ppm.width, ppm.height].map(|side| u32::try_from(side.div_ceil(step)).unwrap_or(0));
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    // Eight bits a pixel, by palette; no interlacing.
    header.extend([8, 3, 0, 0, 0]);
    let mut png = SIGNATURE.to_vec();
    chunk(&mut png, *b"IHDR", &header);
    chunk(&mut png, *b"PLTE", &palette);
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

/// Palette and rows, each row after its filter byte; nothing if there are more than 256 colours.
fn index(ppm: &Ppm<'_>, step: usize, mask: u8) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut palette, mut known, mut rows) = (Vec::new(), HashMap::new(), Vec::new());
    for row in ppm.pixels.chunks_exact(ppm.width * 3).step_by(step) {
        rows.push(0);
        for pixel in row.chunks_exact(3).step_by(step) {
            let colour = pixel.first_chunk::<3>()?.map(|part| part & mask);
            let number = match known.get(&colour) {
                Some(number) => *number,
                None => {
                    let number = u8::try_from(known.len()).ok()?;
                    palette.extend(colour);
                    known.insert(colour, number);
                    number
                }
            };
            rows.push(number);
        }
    }
    Some((palette, rows))
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
