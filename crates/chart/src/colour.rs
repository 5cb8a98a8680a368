//! Which colour a line has; the colours themselves are in the stylesheet, for light and dark.

/// Colours of lines; the stylesheet has them as `c0` to `c7`.
const COLOURS: usize = 8;

/// Returns the class of a line: wait classes have the same colour everywhere, other lines the next one.
pub(super) fn class(index: usize, name: &str) -> String {
    let fixed = match name {
        "CPU" | "cpu" | "Running" | "running" => Some(2),
        "IO" | "I/O" => Some(0),
        "Lock" => Some(3),
        "LWLock" => Some(1),
        "Extension" | "InjectionPoint" => Some(4),
        "IPC" => Some(5),
        "Client" | "Timeout" | "Activity" => Some(6),
        "BufferPin" | "Buffer" => Some(7),
        _ => None,
    };
    let colour = fixed.unwrap_or(index % COLOURS);
    let dashed = fixed.is_none() && index >= COLOURS;
    format!("c{colour}{}", if dashed { " dashed" } else { "" })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Rgb = [f64; 3];
    type Matrix = [Rgb; 3];

    /// How full sight, protanopia, deuteranopia and tritanopia see linear RGB (Machado et al. 2009, severity 1).
    const SIGHTS: [Matrix; 4] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [
            [0.152_286, 1.052_583, -0.204_868],
            [0.114_503, 0.786_281, 0.099_216],
            [-0.003_882, -0.048_116, 1.051_998],
        ],
        [
            [0.367_322, 0.860_646, -0.227_968],
            [0.280_085, 0.672_501, 0.047_413],
            [-0.011_820, 0.042_940, 0.968_881],
        ],
        [
            [1.255_528, -0.076_749, -0.178_779],
            [-0.078_411, 0.930_809, 0.147_602],
            [0.004_733, 0.691_367, 0.303_900],
        ],
    ];

    /// Returns the colours of the stylesheet, for light and dark.
    fn palettes() -> [BTreeMap<String, Rgb>; 2] {
        let css = include_str!("../assets/palette.css");
        let light = css.split(":root {").nth(1).unwrap();
        let dark = css.split(":root {").nth(2).unwrap();
        [light, dark].map(|block| {
            let block = block.split('}').next().unwrap();
            let lines = block.lines().filter_map(|line| {
                let (name, value) = line.trim().strip_prefix("--")?.split_once(": #")?;
                let hex = value.trim_end_matches(';');
                let part = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
                Some((name.to_owned(), [part(0)?, part(2)?, part(4)?].map(linear)))
            });
            lines.collect()
        })
    }

    fn linear(channel: u8) -> f64 {
        let value = f64::from(channel) / 255.0;
        if value <= 0.040_45 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    }

    fn contrast(a: Rgb, b: Rgb) -> f64 {
        let luminance = |c: Rgb| 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2] + 0.05;
        let (a, b) = (luminance(a), luminance(b));
        a.max(b) / a.min(b)
    }

    fn seen(colour: Rgb, sight: &Matrix) -> Rgb {
        sight.map(|row| {
            let sum: f64 = row.iter().zip(colour).map(|(a, b)| a * b).sum();
            sum.clamp(0.0, 1.0)
        })
    }

    /// Returns the distance of two colours in OKLab: 0.02 is just noticeable.
    fn distance(a: Rgb, b: Rgb) -> f64 {
        let lab = |[r, g, b]: Rgb| {
            let l = (0.412_221 * r + 0.536_333 * g + 0.051_446 * b).cbrt();
            let m = (0.211_903 * r + 0.680_700 * g + 0.107_397 * b).cbrt();
            let s = (0.088_302 * r + 0.281_719 * g + 0.629_979 * b).cbrt();
            [
                0.210_454 * l + 0.793_618 * m - 0.004_072 * s,
                1.977_998 * l - 2.428_592 * m + 0.450_594 * s,
                0.025_904 * l + 0.782_772 * m - 0.808_676 * s,
            ]
        };
        let pairs = lab(a).into_iter().zip(lab(b));
        pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn words_are_readable_in_light_and_dark() {
        const ON_GROUND: [&str; 8] = [
            "text", "muted", "accent", "critical", "warning", "unknown", "info", "ok",
        ];
        for palette in palettes() {
            for ground in ["ground", "quiet"] {
                for name in ON_GROUND {
                    let found = contrast(palette[name], palette[ground]);
                    assert!(found >= 4.5, "{name} on {ground}: {found:.2}");
                }
            }
            for name in ["accent", "critical", "warning", "unknown", "info", "ok"] {
                let soft = contrast(palette[name], palette[&format!("{name}-soft")]);
                assert!(soft >= 4.5, "{name} on its soft ground: {soft:.2}");
                let text = contrast(palette["text"], palette[&format!("{name}-soft")]);
                assert!(text >= 7.0, "text on soft {name}: {text:.2}");
            }
            for name in ["accent", "critical", "warning"] {
                let found = contrast(palette["on-strong"], palette[name]);
                assert!(found >= 4.5, "words on {name}: {found:.2}");
            }
        }
    }

    #[test]
    fn lines_are_told_apart_by_every_sight() {
        for palette in palettes() {
            let lines: Vec<Rgb> = (0..COLOURS)
                .map(|index| palette[&format!("c{index}")])
                .collect();
            for (index, colour) in lines.iter().enumerate() {
                let found = contrast(*colour, palette["ground"]);
                assert!(found >= 3.0, "c{index} on ground: {found:.2}");
                for (other, second) in lines.iter().enumerate().skip(index + 1) {
                    for sight in &SIGHTS {
                        let far = distance(seen(*colour, sight), seen(*second, sight));
                        assert!(far >= 0.08, "c{index} and c{other}: {far:.3}");
                    }
                }
            }
        }
    }

    #[test]
    fn wait_classes_have_the_same_colour_wherever_they_are() {
        for index in 0..20 {
            assert_eq!(class(index, "Lock"), "c3");
        }
        assert_eq!(class(9, "public.orders"), "c1 dashed");
    }
}
