//! Bitcoin's script interpreter, signature hashes and step debugger, answering as Bitcoin Core does
