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
