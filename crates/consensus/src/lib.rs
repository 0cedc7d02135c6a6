//! Bitcoin's consensus rules as ordered lists with Bitcoin Core's reject reasons
