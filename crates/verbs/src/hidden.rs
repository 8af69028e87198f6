//! Characters that are invisible or easily mistaken for others.

/// The first and last character of each range that is displayed as code points instead of as is:
/// characters that have no width, look like a space, change the text direction, or render
/// differently on every screen. Sorted. ASCII control characters are not included.
///
/// From the Unicode Character Database 16: general categories Cc (C1), Cf, Zl, Zp, Zs without the
/// space and Co, the property `Default_Ignorable_Code_Point`, noncharacters, and letters that are
/// drawn as nothing.
pub const HIDDEN: &[(char, char)] = &[
    ('\u{80}', '\u{a0}'),       // C1 controls, no-break space
    ('\u{ad}', '\u{ad}'),       // soft hyphen
    ('\u{34f}', '\u{34f}'),     // combining grapheme joiner
    ('\u{600}', '\u{605}'),     // Arabic number and section signs
    ('\u{61c}', '\u{61c}'),     // Arabic letter mark
    ('\u{6dd}', '\u{6dd}'),     // Arabic end of ayah
    ('\u{70f}', '\u{70f}'),     // Syriac abbreviation mark
    ('\u{890}', '\u{891}'),     // Arabic pound and piastre marks
    ('\u{8e2}', '\u{8e2}'),     // Arabic disputed end of ayah
    ('\u{115f}', '\u{1160}'),   // Hangul fillers
    ('\u{1680}', '\u{1680}'),   // Ogham space
    ('\u{17b4}', '\u{17b5}'),   // Khmer inherent vowels
    ('\u{180b}', '\u{180f}'),   // Mongolian variation selectors and vowel separator
    ('\u{2000}', '\u{200f}'),   // spaces of many widths and of none, joiners, direction marks
    ('\u{2028}', '\u{202f}'),   // line and paragraph separators, direction overrides, narrow space
    ('\u{205f}', '\u{206f}'),   // mathematical space, word joiner, invisible operators, isolates
    ('\u{2800}', '\u{2800}'),   // Braille pattern blank
    ('\u{3000}', '\u{3000}'),   // ideographic space
    ('\u{3164}', '\u{3164}'),   // Hangul filler
    ('\u{e000}', '\u{f8ff}'),   // private use
    ('\u{fdd0}', '\u{fdef}'),   // noncharacters
    ('\u{fe00}', '\u{fe0f}'),   // variation selectors
    ('\u{feff}', '\u{feff}'),   // byte order mark
    ('\u{ffa0}', '\u{ffa0}'),   // halfwidth Hangul filler
    ('\u{fff0}', '\u{fffc}'),   // interlinear annotation, object replacement
    ('\u{fffe}', '\u{ffff}'),   // noncharacters
    ('\u{110bd}', '\u{110bd}'), // Kaithi number sign
    ('\u{110cd}', '\u{110cd}'), // Kaithi number sign above
    ('\u{13430}', '\u{1343f}'), // Egyptian format controls
    ('\u{16fe4}', '\u{16fe4}'), // Khitan filler
    ('\u{1bca0}', '\u{1bca3}'), // shorthand format controls
    ('\u{1d159}', '\u{1d159}'), // musical null notehead
    ('\u{1d173}', '\u{1d17a}'), // musical format controls
    ('\u{1fffe}', '\u{1ffff}'), // noncharacters of each plane, down to the end of the table
    ('\u{2fffe}', '\u{2ffff}'),
    ('\u{3fffe}', '\u{3ffff}'),
    ('\u{4fffe}', '\u{4ffff}'),
    ('\u{5fffe}', '\u{5ffff}'),
    ('\u{6fffe}', '\u{6ffff}'),
    ('\u{7fffe}', '\u{7ffff}'),
    ('\u{8fffe}', '\u{8ffff}'),
    ('\u{9fffe}', '\u{9ffff}'),
    ('\u{afffe}', '\u{affff}'),
    ('\u{bfffe}', '\u{bffff}'),
    ('\u{cfffe}', '\u{cffff}'),
    ('\u{dfffe}', '\u{e0fff}'), // tags, variation selectors, default ignorable
    ('\u{efffe}', '\u{10ffff}'), // private use, noncharacters
];

/// Whether `c` is one of [`HIDDEN`].
#[must_use]
pub fn is_hidden(c: char) -> bool {
    let next = HIDDEN.partition_point(|(first, _)| *first <= c);
    next > 0 && c <= HIDDEN[next - 1].1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_and_contains_no_ascii() {
        assert!(HIDDEN[0].0 > '\x7f');
        assert!(HIDDEN.iter().all(|(first, last)| first <= last));
        assert!(HIDDEN.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }

    #[test]
    fn characters_without_width_and_lookalikes_of_space_are_hidden() {
        for c in "\u{200b}\u{2060}\u{ad}\u{feff}\u{fe0f}\u{180e}\u{3164}\u{2800}\u{2062}\u{fff9}\u{a0}\
                  \u{e0041}\u{202e}\u{2066}\u{61c}\u{34f}\u{115f}\u{1160}\u{ffa0}\u{202f}\u{205f}\u{3000}\
                  \u{1680}\u{2003}\u{e0100}\u{e000}\u{10ffff}\u{fdd0}\u{9b}\u{2028}"
            .chars()
        {
            assert!(is_hidden(c), "{:x}", u32::from(c));
        }
    }

    #[test]
    fn letters_signs_and_emoji_are_not_hidden() {
        for c in " ~äß¡漢字🙂‘—…✓⚠\u{301}\n\t\u{fffd}ن한".chars() {
            assert!(!is_hidden(c), "{:x}", u32::from(c));
        }
    }
}
