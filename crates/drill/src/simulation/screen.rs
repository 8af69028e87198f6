//! The guest's screen: text drawn as a picture, in the format of QEMU's `screendump`.

use font8x8::legacy::BASIC_LEGACY;

const COLUMNS: usize = 90;
const ROWS: usize = 28;
/// Each row of the 8 × 8 font is drawn twice, as on a text console.
const ROW_HEIGHT: usize = 2;
const GREY: [u8; 3] = [0xaa; 3];
const BLACK: [u8; 3] = [0; 3];

/// `text` on a black console of 720 × 448 pixels, as PPM. Longer text is cut off.
pub(super) fn draw(text: &str) -> Vec<u8> {
    let lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
    let (width, height) = (COLUMNS * 8, ROWS * 8 * ROW_HEIGHT);
    let mut ppm = format!("P6\n{width} {height}\n255\n").into_bytes();
    for y in 0..height {
        let (line, row) = (lines.get(y / (8 * ROW_HEIGHT)), y / ROW_HEIGHT % 8);
        for x in 0..width {
            let letter = line.and_then(|line| line.get(x / 8));
            let glyph = letter.and_then(|letter| BASIC_LEGACY.get(*letter as usize));
            let is_inked = glyph.is_some_and(|glyph| glyph[row] >> (x % 8) & 1 == 1);
            ppm.extend(if is_inked { GREY } else { BLACK });
        }
    }
    ppm
}
