//! Messages of the server, taken apart without copying what they carry.

use bytes::{Buf, Bytes, BytesMut};

use crate::explain::{self, Refusal};

/// No message of a server is longer: those of base backups have some 32 kB, those of WAL 128 kB.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
const HEADER_BYTES: usize = 5;

/// One message: its kind and what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) body: Bytes,
}

/// The bytes are no messages of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Garbled;

/// Takes the first message off what was read; `None` until all of it is there.
pub(super) fn take(input: &mut BytesMut) -> Result<Option<Frame>, Garbled> {
    let Some((&kind, length)) = input.first().zip(input.get(1..HEADER_BYTES)) else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(length.try_into().expect("the slice has four bytes"));
    // The length counts itself and not the kind.
    let end = length as usize + 1;
    if !(HEADER_BYTES..=FRAME_BYTES_MAX).contains(&end) {
        return Err(Garbled);
    }
    if input.len() < end {
        return Ok(None);
    }
    let mut body = input.split_to(end).freeze();
    body.advance(HEADER_BYTES);
    Ok(Some(Frame { kind, body }))
}

/// Reads what a message carries from its beginning on.
pub(super) struct Reader(pub(super) Bytes);

impl Reader {
    pub(super) fn u8(&mut self) -> Result<u8, Garbled> {
        self.0.try_get_u8().map_err(|_| Garbled)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Garbled> {
        self.0.try_get_u16().map_err(|_| Garbled)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Garbled> {
        self.0.try_get_i32().map_err(|_| Garbled)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Garbled> {
        self.0.try_get_u64().map_err(|_| Garbled)
    }

    /// Reads a text that ends with a zero byte.
    pub(super) fn text(&mut self) -> Result<Bytes, Garbled> {
        let length = self.0.iter().position(|byte| *byte == 0).ok_or(Garbled)?;
        let text = self.0.split_to(length);
        self.0.advance(1);
        Ok(text)
    }

    fn bytes(&mut self, length: usize) -> Result<Bytes, Garbled> {
        if self.0.len() < length {
            return Err(Garbled);
        }
        Ok(self.0.split_to(length))
    }
}

/// Reads the values of a row.
pub(super) fn row(body: Bytes) -> Result<Vec<Option<Bytes>>, Garbled> {
    let mut reader = Reader(body);
    let count = reader.u16()?;
    (0..count)
        .map(|_| match reader.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Garbled)?;
                reader.bytes(length).map(Some)
            }
        })
        .collect()
}

/// An error or a warning of the server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Notice {
    /// `ERROR`, `FATAL`, `WARNING`, ... in English.
    pub(super) severity: String,
    sqlstate: String,
    words: String,
}

impl Notice {
    /// Reads its fields; of a message that is cut off, what is there.
    pub(super) fn read(body: Bytes) -> Notice {
        let mut reader = Reader(body);
        let mut fields: [Option<String>; 6] = Default::default();
        while let Ok(field @ 1..) = reader.u8() {
            let Ok(text) = reader.text() else { break };
            if let Some(index) = b"VCMDHP".iter().position(|known| *known == field) {
                fields[index] = Some(String::from_utf8_lossy(&text).into_owned());
            }
        }
        let [severity, sqlstate, message, detail, hint, position] = fields;
        let message = message.unwrap_or_default();
        Notice {
            severity: severity.unwrap_or_default(),
            sqlstate: sqlstate.unwrap_or_default(),
            words: explain::words(
                &message,
                [detail.as_deref(), hint.as_deref()],
                position.as_deref(),
            ),
        }
    }

    /// Says whether the server hangs up after it.
    pub(super) fn fatal(&self) -> bool {
        matches!(self.severity.as_str(), "FATAL" | "PANIC")
    }

    pub(super) fn words(self) -> String {
        self.words
    }

    pub(super) fn refusal(self) -> Refusal {
        Refusal {
            sqlstate: self.sqlstate,
            message: self.words,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind], &length.to_be_bytes()[..], body].concat()
    }

    #[test]
    fn reads_errors_and_rows() {
        let body = b"SFEHLER\0VERROR\0C58P01\0Mno segment\0Dit is gone\0Fx.c\0L1\0\0";
        let notice = Notice::read(Bytes::from_static(body));
        assert!(!notice.fatal());
        assert_eq!(notice.sqlstate, "58P01");
        assert_eq!(notice.words(), "no segment; it is gone");
        let cut = Notice::read(Bytes::from_static(b"VFATAL\0Mhal"));
        assert!(cut.fatal());
        assert_eq!(
            row(Bytes::from_static(b"\0\x02\0\0\0\x03abc\xff\xff\xff\xff")),
            Ok(vec![Some(Bytes::from_static(b"abc")), None])
        );
        for wrong in [
            &b"\0"[..],
            b"\0\x01",
            b"\0\x01\0\0\0\x09a",
            b"\0\x01\x80\0\0\0",
        ] {
            assert_eq!(row(Bytes::from_static(wrong)), Err(Garbled), "{wrong:?}");
        }
    }

    #[test]
    fn refuses_lengths_that_cannot_be() {
        for wrong in [&b"d\0\0\0\x03"[..], b"d\xff\xff\xff\xff", b"HTTP/1.1"] {
            assert_eq!(take(&mut BytesMut::from(wrong)), Err(Garbled), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn messages_come_out_however_they_arrive(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in prop::collection::vec(1usize..20, 1..60),
        ) {
            let wire: Vec<u8> = bodies.iter().flat_map(|body| message(b'd', body)).collect();
            let (mut input, mut found, mut rest) = (BytesMut::new(), Vec::new(), &wire[..]);
            for cut in cuts.iter().cycle() {
                while let Some(frame) = take(&mut input).unwrap() {
                    found.push(frame.body.to_vec());
                }
                if rest.is_empty() {
                    break;
                }
                let (head, tail) = rest.split_at((*cut).min(rest.len()));
                input.extend_from_slice(head);
                rest = tail;
            }
            prop_assert_eq!(found, bodies);
        }

        #[test]
        fn no_bytes_make_it_fall(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = take(&mut BytesMut::from(&bytes[..]));
            let _ = row(Bytes::from(bytes.clone()));
            let _ = Notice::read(Bytes::from(bytes));
        }
    }
}
