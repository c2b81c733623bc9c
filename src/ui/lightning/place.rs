//! Another node as people write it: `KEY@HOST:PORT`.

/// A node's key and address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its public key, hexadecimal.
    pub(super) peer: String,
    /// Its address, `host:port`.
    pub(super) address: String,
}

impl Place {
    /// Reads one; a port that is not said is 9735.
    pub(super) fn read(text: &str) -> Result<Place, String> {
        let (peer, address) = text.trim().split_once('@').ok_or_else(|| {
            "The node must be written as KEY@HOST:PORT: its public key, an @, and its address.".to_owned()
        })?;
        if peer.len() != 66 || !peer.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("The node’s public key, before the @, must be 66 hexadecimal digits.".to_owned());
        }
        let has_port = address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
        });
        let odd = address.is_empty() || address.contains(char::is_whitespace) || address.contains('@');
        match (odd, has_port) {
            (true, _) => Err("The node’s address, after the @, is not a HOST:PORT.".to_owned()),
            (false, true) => Ok(Place { peer: peer.to_ascii_lowercase(), address: address.to_owned() }),
            (false, false) if address.contains(':') => {
                Err("The node’s address, after the @, is not a HOST:PORT.".to_owned())
            }
            (false, false) => {
                Ok(Place { peer: peer.to_ascii_lowercase(), address: format!("{address}:9735") })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_a_key_and_an_address() {
        let key = "02".repeat(33);
        let read = |rest: &str| Place::read(&format!(" {key}@{rest} ")).map(|place| place.address);
        assert_eq!(read("example.org"), Ok("example.org:9735".to_owned()));
        assert_eq!(read("127.0.0.1:1"), Ok("127.0.0.1:1".to_owned()));
        assert_eq!(read("[::1]:9735"), Ok("[::1]:9735".to_owned()));
        for bad in ["", "a b", "host:", "host:99999", ":9735", "a@b", "::1"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(Place::read("02ab@host").unwrap_err().contains("66"));
        assert!(Place::read("host:9735").unwrap_err().contains("KEY@HOST:PORT"));
    }
}
