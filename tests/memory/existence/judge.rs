//! The judge: the `ics23` crate, which decodes the bytes and verifies them with the specs of IAVL and of the Cosmos SDK's commit info.

use ics23::{
    CommitmentProof, ExistenceProof, HostFunctionsProvider, ProofSpec, commitment_proof::Proof, iavl_spec,
    tendermint_spec, verify_membership, verify_non_membership,
};
use prost::Message;
use sha2::{Digest as _, Sha256};
use storeshift::{
    iavl::{
        Claim, NodeReader,
        ics23::{self as made, StoreProof, prove_key},
    },
    model::{Hash, StoreKey},
};

/// The one hash that these specs know.
struct Hashes;

impl HostFunctionsProvider for Hashes {
    fn sha2_256(message: &[u8]) -> [u8; 32] {
        Sha256::digest(message).into()
    }

    fn sha2_512(_: &[u8]) -> [u8; 64] {
        unreachable!()
    }

    fn sha2_512_truncated(_: &[u8]) -> [u8; 32] {
        unreachable!()
    }

    fn keccak_256(_: &[u8]) -> [u8; 32] {
        unreachable!()
    }

    fn ripemd160(_: &[u8]) -> [u8; 20] {
        unreachable!()
    }

    fn blake2b_512(_: &[u8]) -> [u8; 64] {
        unreachable!()
    }

    fn blake2s_256(_: &[u8]) -> [u8; 32] {
        unreachable!()
    }

    fn blake3(_: &[u8]) -> [u8; 32] {
        unreachable!()
    }
}

/// `tendermint.crypto.ProofOps`.
#[derive(Clone, PartialEq, Message)]
struct Ops {
    #[prost(message, repeated, tag = "1")]
    ops: Vec<Op>,
}

/// `tendermint.crypto.ProofOp`.
#[derive(Clone, PartialEq, Message)]
struct Op {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    data: Vec<u8>,
}

/// What the judge makes of bytes; they must be those it would write itself.
pub fn read(proof: &made::CommitmentProof) -> CommitmentProof {
    let bytes = proof.encode();
    let read = CommitmentProof::decode(&*bytes).unwrap();
    assert_eq!(read.encode_to_vec(), bytes);
    read
}

/// Whether the proof says that the key has this value, or none, in an IAVL tree with this root.
pub fn holds(proof: &CommitmentProof, root: &Hash, key: &[u8], value: Option<&[u8]>) -> bool {
    holds_as(&iavl_spec(), proof, root, key, value)
}

/// Whether the proof says that a store has this root in this app hash.
pub fn is_committed(proof: &CommitmentProof, app_hash: &Hash, store: &StoreKey, root: &[u8]) -> bool {
    holds_as(&tendermint_spec(), proof, app_hash, store.as_str().as_bytes(), Some(root))
}

fn holds_as(spec: &ProofSpec, proof: &CommitmentProof, root: &Hash, key: &[u8], value: Option<&[u8]>) -> bool {
    let root = root.0.to_vec();
    match value {
        Some(value) => verify_membership::<Hashes>(proof, spec, &root, key, value),
        None => verify_non_membership::<Hashes>(proof, spec, &root, key),
    }
}

/// The existence proofs in a proof.
pub fn parts(proof: &CommitmentProof) -> Vec<&ExistenceProof> {
    match proof.proof.as_ref().unwrap() {
        Proof::Exist(proof) => vec![proof],
        Proof::Nonexist(proof) => proof.left.iter().chain(&proof.right).collect(),
        _ => panic!("another kind of proof"),
    }
}

/// The judge refuses empty values. Those are hashed here, by the rule that the proof names.
fn root_by_hand(proof: &ExistenceProof) -> Hash {
    let length = |bytes: &[u8]| {
        let mut out = Vec::new();
        prost::encode_length_delimiter(bytes.len(), &mut out).unwrap();
        out
    };
    let leaf = proof.leaf.as_ref().unwrap();
    let value: [u8; 32] = Sha256::digest(&proof.value).into();
    let preimage = [&*leaf.prefix, &length(&proof.key), &proof.key, &[32], &value].concat();
    let leaf: [u8; 32] = Sha256::digest(preimage).into();
    let up = |hash: [u8; 32], op: &ics23::InnerOp| Sha256::digest([&*op.prefix, &hash, &op.suffix].concat()).into();
    Hash(proof.path.iter().fold(leaf, up))
}

/// What was judged.
#[derive(Debug, Default)]
pub struct Judged {
    pub there: u64,
    pub absent: u64,
    /// Right, and refused by the judge for an empty value.
    pub empty: u64,
    /// Of empty trees, which have nothing to prove with.
    pub no_tree: u64,
}

impl Judged {
    /// A proof that is right.
    pub fn check(&mut self, proof: &made::CommitmentProof, root: &Hash, key: &[u8], value: Option<&[u8]>) {
        assert_eq!(proof.value(), value);
        let read = read(proof);
        let parts = parts(&read);
        if parts.is_empty() {
            assert_eq!((*root, value), (Hash::EMPTY, None));
            assert!(!holds(&read, root, key, value));
            self.no_tree += 1;
        } else if parts.iter().any(|part| part.value.is_empty()) {
            assert!(!holds(&read, root, key, value), "the judge has learned of empty values");
            assert!(parts.iter().all(|part| root_by_hand(part) == *root));
            self.empty += 1;
        } else {
            assert!(holds(&read, root, key, value), "{key:02x?} {value:02x?}");
            *if value.is_some() { &mut self.there } else { &mut self.absent } += 1;
        }
    }

    /// A proof that is right, chained to an app hash.
    pub fn check_chain(
        &mut self,
        proof: &StoreProof,
        store: &StoreKey,
        app_hash: &Hash,
        key: &[u8],
        value: Option<&[u8]>,
    ) {
        let root = Hash(proof.store.value.clone().try_into().unwrap());
        self.check(&proof.tree, &root, key, value);
        let ops = Ops::decode(&*proof.encode_ops()).unwrap().ops;
        let [tree, simple] = &ops[..] else { panic!("{} operations", ops.len()) };
        assert_eq!((&*tree.kind, &*tree.key, &tree.data), ("ics23:iavl", key, &proof.tree.encode()));
        assert_eq!((&*simple.kind, &*simple.key), ("ics23:simple", store.as_str().as_bytes()));
        let simple = CommitmentProof::decode(&*simple.data).unwrap();
        assert!(is_committed(&simple, app_hash, store, &root.0), "{store}");
        assert_eq!(proof.app_hash(), *app_hash);
        assert_eq!((proof.key(), proof.value()), (key, value));
    }

    /// Every key of a tree, and a key in each gap, below the first and above the last.
    pub fn check_all<R: NodeReader + ?Sized>(
        &mut self,
        reader: &mut R,
        root: Option<Claim>,
        pairs: &[(Vec<u8>, Vec<u8>)],
    ) {
        let hash = root.map_or(Hash::EMPTY, |root| root.hash);
        for (key, value) in queries(pairs) {
            let proof = prove_key(reader, root, &key).unwrap();
            self.check(&proof, &hash, &key, value);
        }
    }
}

/// A key to ask for, and the value it has.
pub type Query<'a> = (Vec<u8>, Option<&'a [u8]>);

/// Every pair; and absent keys below the first, above each, and well above the last.
pub fn queries(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<Query<'_>> {
    let mut keys: Vec<Query<'_>> = vec![(vec![0], None), (vec![0xff; 9], None)];
    for (at, (key, value)) in pairs.iter().enumerate() {
        keys.push((key.clone(), Some(value)));
        // The first key there is above this one; and one about half-way to the next.
        let above = [key.as_slice(), &[0]].concat();
        let half = [key.as_slice(), &[0x80]].concat();
        for absent in [above, half] {
            if pairs.get(at + 1).is_none_or(|(next, _)| absent < *next) {
                keys.push((absent, None));
            }
        }
    }
    keys.retain(|(key, value)| value.is_some() || pairs.binary_search_by(|(there, _)| there.cmp(key)).is_err());
    keys
}
