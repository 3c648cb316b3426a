//! The packets of the bridge: a fixed header, then at most 64 KiB of payload.
//!
//! Little-endian. 00 magic, 04 code, 08 three arguments of 64 bits, 20 payload length, 24 zero, 28
//! payload. The code of a request is a [`Call`]; the code of an answer is the `NTSTATUS` of the
//! call.

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 40;
/// The longest payload, in bytes. Longer than any message that the Filter Manager would carry
/// usefully.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// The longest frame, in bytes.
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + PAYLOAD_BYTES_MAX;

const MAGIC: u32 = u32::from_le_bytes(*b"FHB1");

/// What a request asks for. Open: a number that is not listed is answered with a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call(pub u32);

impl Call {
    /// First frame of the first lane. Payload: name of the program, UTF-8. Answer: process id,
    /// token.
    pub const NEW_PROCESS: Self = Self(1);
    /// First frame of a further lane. Arguments: process id, token.
    pub const JOIN_PROCESS: Self = Self(2);
    /// `FilterConnectCommunicationPort`. First argument: bytes of the port's name at the start of
    /// the payload, UTF-8; the rest of the payload is the context. Answer: handle.
    pub const CONNECT_PORT: Self = Self(3);
    /// `FilterGetMessage`. Arguments: handle, bytes of the buffer without header, time-out in 100
    /// ns. Answer: message id, reply length; the message without header.
    pub const GET_MESSAGE: Self = Self(4);
    /// `FilterReplyMessage`. Arguments: handle, message id, status. Payload: the reply without
    /// header.
    pub const REPLY_MESSAGE: Self = Self(5);
    /// `FilterSendMessage`. Arguments: handle, bytes of the output buffer. Answer: the output.
    pub const SEND_MESSAGE: Self = Self(6);
    /// The bytes of a section. Argument: handle. Answer: size of the section, and a file
    /// descriptor.
    pub const OPEN_SECTION: Self = Self(7);
    /// `CloseHandle`. Argument: handle.
    pub const CLOSE_HANDLE: Self = Self(8);
    /// `OpenFileById`, of a reparse point itself. Arguments: access, share mode. Payload: the
    /// volume's GUID and the file's id, 16 bytes each as they lie in memory. Answer: handle.
    pub const OPEN_FILE: Self = Self(9);
    /// `ReadFile`. Arguments: handle, offset, bytes. Answer: the bytes, fewer at the file's end.
    pub const READ_FILE: Self = Self(10);
    /// `SetFileInformationByHandle` with `FileDispositionInfo`: the file goes with its last handle.
    /// Argument: handle.
    pub const DELETE_FILE: Self = Self(11);
    /// Begins a real-time tracing session of one provider (`StartTrace`, `EnableTraceEx2`).
    /// Arguments: level, keywords; 0 is for all. Payload: the provider's GUID as it lies in memory.
    /// Answer: handle. The session ends with it.
    pub const BEGIN_TRACE: Self = Self(12);
    /// Waits for events of a session (`ProcessTrace`). Arguments: handle, time-out in 100 ns.
    /// Answer: how many were lost since the last one; events, as many as fit.
    pub const TAKE_EVENTS: Self = Self(13);
}

/// One packet of either direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// A [`Call`] in a request, an `NTSTATUS` in an answer.
    pub code: u32,
    /// What they mean depends on the code.
    pub arguments: [u64; 3],
    /// Bytes that belong to the call.
    pub payload: Vec<u8>,
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Fewer bytes than a header has, or than the header announces, or more.
    #[error("the packet has {found} bytes where {expected} belong")]
    Length {
        /// Bytes that the header announces, or the header's own.
        expected: usize,
        /// Bytes that came.
        found: usize,
    },
    /// It does not begin as a frame does.
    #[error("the packet does not begin with the bridge's magic number")]
    Magic,
    /// The payload is longer than the limit.
    #[error("a payload of {0} bytes is longer than {PAYLOAD_BYTES_MAX}")]
    TooLong(usize),
    /// Reserved bytes are not zero.
    #[error("reserved bytes of the packet are not zero")]
    Reserved,
}

impl Frame {
    /// A frame without payload.
    #[must_use]
    pub fn new(code: u32, arguments: [u64; 3]) -> Self {
        Self {
            code,
            arguments,
            payload: Vec::new(),
        }
    }

    /// A request.
    #[must_use]
    pub fn request(call: Call, arguments: [u64; 3], payload: &[u8]) -> Self {
        Self {
            code: call.0,
            arguments,
            payload: payload.to_vec(),
        }
    }

    /// The bytes of this frame.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] when the payload is longer than [`PAYLOAD_BYTES_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        if self.payload.len() > PAYLOAD_BYTES_MAX {
            return Err(FrameError::TooLong(self.payload.len()));
        }
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.payload.len());
        bytes.extend_from_slice(&MAGIC.to_le_bytes());
        bytes.extend_from_slice(&self.code.to_le_bytes());
        for argument in self.arguments {
            bytes.extend_from_slice(&argument.to_le_bytes());
        }
        bytes.extend_from_slice(&(self.payload.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.payload);
        Ok(bytes)
    }

    /// Reads a frame from exactly these bytes.
    ///
    /// # Errors
    /// [`FrameError`] for anything that [`Frame::encode`] would not have written.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut rest = bytes;
        let mut word = || -> Result<u32, FrameError> {
            let (first, tail) = rest.split_first_chunk::<4>().ok_or(FrameError::Length {
                expected: HEADER_BYTES,
                found: bytes.len(),
            })?;
            rest = tail;
            Ok(u32::from_le_bytes(*first))
        };
        if word()? != MAGIC {
            return Err(FrameError::Magic);
        }
        let code = word()?;
        let mut arguments = [0_u64; 3];
        for argument in &mut arguments {
            let low = u64::from(word()?);
            *argument = low | (u64::from(word()?) << 32);
        }
        let length = word()? as usize;
        let reserved = word()?;
        if length > PAYLOAD_BYTES_MAX {
            return Err(FrameError::TooLong(length));
        }
        if reserved != 0 {
            return Err(FrameError::Reserved);
        }
        if rest.len() != length {
            return Err(FrameError::Length {
                expected: HEADER_BYTES + length,
                found: bytes.len(),
            });
        }
        Ok(Self {
            code,
            arguments,
            payload: rest.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Frame {
        Frame {
            code: 4,
            arguments: [1, u64::MAX, 3 << 40],
            payload: vec![7; 100],
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for payload in [0, 1, 100, PAYLOAD_BYTES_MAX] {
            let frame = Frame {
                payload: vec![9; payload],
                ..sample()
            };
            let bytes = frame.encode().unwrap();
            assert_eq!(bytes.len(), HEADER_BYTES + payload);
            assert_eq!(Frame::decode(&bytes), Ok(frame));
        }
    }

    #[test]
    fn a_frame_of_any_other_length_is_refused() {
        let bytes = sample().encode().unwrap();
        for length in 0..bytes.len() {
            let error = Frame::decode(&bytes[..length]).unwrap_err();
            assert!(matches!(error, FrameError::Length { found, .. } if found == length));
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(matches!(
            Frame::decode(&longer),
            Err(FrameError::Length { .. })
        ));
    }

    #[test]
    fn wrong_bytes_are_named() {
        let bytes = sample().encode().unwrap();
        let with = |at: usize, value: u8| {
            let mut changed = bytes.clone();
            changed[at] = value;
            Frame::decode(&changed)
        };
        assert_eq!(with(0, 0), Err(FrameError::Magic));
        assert_eq!(with(36, 1), Err(FrameError::Reserved));
        assert!(matches!(with(34, 2), Err(FrameError::TooLong(_))));
        let long = Frame {
            payload: vec![0; PAYLOAD_BYTES_MAX + 1],
            ..sample()
        };
        assert_eq!(
            long.encode(),
            Err(FrameError::TooLong(PAYLOAD_BYTES_MAX + 1))
        );
    }
}
