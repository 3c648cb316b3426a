//! One lane of the bridge: a packet socket that carries frames, and with a frame at most one
//! descriptor.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketFlags,
    SocketType, accept_with, bind, connect, listen, recvmsg, sendmsg, shutdown, socket_with,
};

use super::frame::{FRAME_BYTES_MAX, Frame, FrameError};

/// Descriptors that one packet may carry.
const DESCRIPTORS_MAX: usize = 1;

/// Why a lane carries no further frame.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The other side has closed the lane, or ended.
    #[error("the other side of the bridge is gone")]
    Closed,
    /// The other side sent something that is no frame.
    #[error("the other side of the bridge sent a bad packet: {0}")]
    Frame(#[from] FrameError),
    /// The system refused.
    #[error("the bridge socket failed: {0}")]
    Io(#[from] io::Error),
}

impl From<Errno> for ChannelError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN => Self::Closed,
            other => Self::Io(other.into()),
        }
    }
}

/// A listening bridge socket.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
}

/// A connected lane.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

fn packet_socket() -> Result<OwnedFd, Errno> {
    socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
}

impl Listener {
    /// Makes the socket at `path`, which must not exist yet.
    ///
    /// # Errors
    /// What the system said.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let socket = packet_socket()?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        listen(&socket, 64)?;
        Ok(Self { socket })
    }

    /// Waits for the next lane, or gives nothing when the accept time-out passed first.
    ///
    /// # Errors
    /// What the system said; after [`Listener::close`] this always fails.
    pub fn accept(&self) -> io::Result<Option<Channel>> {
        loop {
            match accept_with(&self.socket, SocketFlags::CLOEXEC) {
                Ok(socket) => return Ok(Some(Channel { socket })),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Limits how long [`Listener::accept`] waits.
    ///
    /// # Errors
    /// What the system said.
    pub fn set_accept_timeout(&self, limit: Duration) -> io::Result<()> {
        Ok(set_socket_timeout(
            &self.socket,
            Timeout::Recv,
            Some(limit),
        )?)
    }

    /// Ends every [`Listener::accept`], now and later.
    pub fn close(&self) {
        // It fails only where the socket is shut down already.
        let _ = shutdown(&self.socket, Shutdown::Both);
    }
}

impl Channel {
    /// Connects to a listening bridge socket.
    ///
    /// # Errors
    /// What the system said.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = packet_socket()?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self { socket })
    }

    /// Sends a frame, and with it a descriptor that the other side then owns a copy of.
    ///
    /// # Errors
    /// [`ChannelError`]; the lane is of no use afterwards unless the frame was too long.
    pub fn send(
        &self,
        frame: &Frame,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), ChannelError> {
        let bytes = frame.encode()?;
        let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        loop {
            let parts = [IoSlice::new(&bytes)];
            match sendmsg(&self.socket, &parts, &mut ancillary, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Waits for the next frame. Descriptors beyond the first are closed.
    ///
    /// # Errors
    /// [`ChannelError`]; the lane is of no use afterwards.
    pub fn receive(&self) -> Result<(Frame, Option<OwnedFd>), ChannelError> {
        let mut bytes = vec![0; FRAME_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let message = loop {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            match recvmsg(
                &self.socket,
                &mut parts,
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                Ok(message) => break message,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        };
        let descriptor = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        if message.bytes == 0 {
            return Err(ChannelError::Closed);
        }
        if message.flags.contains(ReturnFlags::TRUNC) {
            return Err(FrameError::TooLong(message.bytes).into());
        }
        Ok((
            Frame::decode(bytes.get(..message.bytes).unwrap_or_default())?,
            descriptor,
        ))
    }

    /// Limits how long [`Channel::receive`] waits; `None` waits for ever.
    ///
    /// # Errors
    /// What the system said.
    pub fn set_receive_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        Ok(set_socket_timeout(&self.socket, Timeout::Recv, limit)?)
    }

    /// Ends the lane for both sides: every wait on it ends.
    pub fn close(&self) {
        // It fails only where the socket is shut down already.
        let _ = shutdown(&self.socket, Shutdown::Both);
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
