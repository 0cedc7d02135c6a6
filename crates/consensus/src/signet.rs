use alloc::vec::Vec;

use caesure_hash::merkle_root;
use caesure_script::{Flags, Instructions, TxContext, opcode, push_slice};
use caesure_wire::{
    Block, DecodeError, Header, MerkleRoot, OutPoint, OutputView, Reader, Transaction, Tx, TxIn,
    TxOut,
};

use crate::block_rules::witness_commitment;
use crate::transaction_rules::ensure;
use crate::{Params, Reject};

/// How the push in the witness commitment begins that holds the solution.
const SIGNET_HEADER: [u8; 4] = [0xec, 0xc7, 0xda, 0xa2];

const FLAGS: Flags = Flags(Flags::P2SH.0 | Flags::WITNESS.0 | Flags::DERSIG.0 | Flags::NULLDUMMY.0);

/// On a signet, every block but block 0 MUST hold a solution of the challenge.
/// Spec: BIP-0325. Core: `CheckSignetBlockSolution`.
pub(crate) fn has_signet_solution<B: AsRef<[u8]>>(
    block: &Block<B>,
    params: &Params,
) -> Result<(), Reject> {
    let Some(challenge) = &params.signet_challenge else { return Ok(()) };
    let is_solved = block.hash() == params.genesis_hash
        || signet_spend(block, challenge).is_some_and(|spend| {
            let spend = Tx::parse(spend.encode()).expect("it was encoded here");
            let spent = [OutputView { value: 0, script_pubkey: challenge }];
            TxContext::new(spend.view(), &spent).verify_input(0, FLAGS).is_ok()
        });
    ensure(is_solved, Reject::BadSignetBlksig)
}

/// Returns the transaction that spends a virtual output, locked by the challenge, with the block's
/// solution. Its signatures are what a signer makes. None when the block has no witness commitment
/// or its solution cannot be read. Spec: BIP-0325. Core: `SignetTxs::Create`.
#[must_use]
pub fn signet_spend<B: AsRef<[u8]>>(block: &Block<B>, challenge: &[u8]) -> Option<Transaction> {
    let index = witness_commitment(block)?;
    let mut coinbase = block.tx(0).to_owned();
    let commitment = &mut coinbase.outputs[index].script_pubkey;
    let mut solved = TxIn { prevout: OutPoint::NULL, ..TxIn::default() };
    // No solution is an empty one, which meets a challenge such as OP_TRUE.
    if let Some((cleared, solution)) = take_solution(commitment) {
        *commitment = cleared;
        read_solution(&solution, &mut solved).ok()?;
    }
    let txids = block.txs().skip(1).map(|tx| tx.txid().0);
    let (root, _) = merkle_root(core::iter::once(coinbase.txid().0).chain(txids).collect());
    let header = Header { merkle_root: MerkleRoot(root), ..*block.header() }.to_bytes();
    let mut script_sig = alloc::vec![opcode::OP_0];
    // All but the last fields, bits and nonce, is signed.
    push_slice(&mut script_sig, &header[..72]);
    let virtual_tx = |input, script_pubkey| Transaction {
        version: 0,
        inputs: [input].into(),
        outputs: [TxOut { value: 0, script_pubkey }].into(),
        lock_time: 0,
    };
    let to_spend = virtual_tx(TxIn { script_sig, ..TxIn::default() }, challenge.to_vec());
    solved.prevout = OutPoint { txid: to_spend.txid(), vout: 0 };
    Some(virtual_tx(solved, alloc::vec![opcode::OP_RETURN]))
}

/// Returns the commitment's script with its first solution cut down to the header, and the
/// solution. Every other push is written anew, in its shortest form.
/// Core: `FetchAndClearCommitmentSection`.
fn take_solution(commitment: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut cleared = Vec::new();
    let mut solution = None;
    for instruction in Instructions::new(commitment).map_while(Result::ok) {
        let data = instruction.data;
        match data.strip_prefix(&SIGNET_HEADER) {
            _ if data.is_empty() => cleared.push(instruction.opcode),
            Some(rest) if solution.is_none() && !rest.is_empty() => {
                solution = Some(rest.to_vec());
                push_slice(&mut cleared, &SIGNET_HEADER);
            }
            _ => push_slice(&mut cleared, data),
        }
    }
    Some((cleared, solution?))
}

/// A solution is a serialized script and a serialized witness stack.
fn read_solution(solution: &[u8], input: &mut TxIn) -> Result<(), DecodeError> {
    let mut reader = Reader::new(solution);
    input.script_sig = reader.sized_bytes()?.to_vec();
    for _ in 0..reader.compact_size()? {
        input.witness.push(reader.sized_bytes()?.to_vec());
    }
    reader.finish()
}
