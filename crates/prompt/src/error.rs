/// Why a prompt cannot answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// The node stops.
    #[error("the node stops")]
    Stopping,
}
