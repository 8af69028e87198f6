//! The guest's screen: text drawn as a picture, as QEMU's `screendump` would hand it out.

use font8x8::legacy::BASIC_LEGACY;

const COLUMNS: usize = 90;
const ROWS: usize = 28;
/// Each dot of the 8 × 8 font is drawn twice as high, as a text console does.
const TALL: usize = 2;
const INK: [u8; 3] = [0xaa, 0xaa, 0xaa];

/// `text` on a black console of 720 × 448 pixels, as PPM. What is too long is cut off.
pub(super) fn draw(text: &str) -> Vec<u8> {
    let lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
    let (width, height) = (COLUMNS * 8, ROWS * 8 * TALL);
    let mut ppm = format!("P6\n{width} {height}\n255\n").into_bytes();
    for y in 0..height {
        let (line, dots) = (lines.get(y / (8 * TALL)), y / TALL % 8);
        for x in 0..width {
            let letter = line.and_then(|line| line.get(x / 8));
            let glyph = letter.and_then(|letter| BASIC_LEGACY.get(*letter as usize));
            let is_inked = glyph.is_some_and(|glyph| glyph[dots] >> (x % 8) & 1 == 1);
            ppm.extend(if is_inked { INK } else { [0; 3] });
        }
    }
    ppm
}
