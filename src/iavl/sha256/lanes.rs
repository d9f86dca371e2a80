//! SHA-256 of sixteen messages side by side, one in each lane of a vector, where the processor has AVX-512.
//!
//! The blocks of one message wait for each other, those of different messages do not. Messages may differ in length: a lane
//! whose message has ended keeps its state.

use super::{BLOCK, Blocks, INITIAL};

/// Messages that are hashed side by side.
pub(super) const LANES: usize = 16;

/// Hashes the messages, sixteen at most; false if the processor cannot do it.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code)]
pub(super) fn hash(messages: &[Blocks<'_>; LANES], digests: &mut [[u8; 32]; LANES]) -> bool {
    if !are_there() {
        return false;
    }
    // SAFETY: all that is asked of a caller is a processor with the instructions `hash` is compiled for: it has just said so.
    unsafe { avx512::hash(messages, digests) };
    true
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn hash(_: &[Blocks<'_>; LANES], _: &mut [[u8; 32]; LANES]) -> bool {
    false
}

/// Whether the processor can do it. It is asked once, and remembers.
#[cfg(target_arch = "x86_64")]
pub(super) fn are_there() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn are_there() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::{BLOCK, Blocks, INITIAL, LANES};
    use std::arch::x86_64::*;

    /// One word of every lane.
    type Words = __m512i;

    /// What the rounds add: the first 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2).
    const ROUNDS: [[u32; 16]; 4] = [
        [
            0x428a_2f98,
            0x7137_4491,
            0xb5c0_fbcf,
            0xe9b5_dba5,
            0x3956_c25b,
            0x59f1_11f1,
            0x923f_82a4,
            0xab1c_5ed5,
            0xd807_aa98,
            0x1283_5b01,
            0x2431_85be,
            0x550c_7dc3,
            0x72be_5d74,
            0x80de_b1fe,
            0x9bdc_06a7,
            0xc19b_f174,
        ],
        [
            0xe49b_69c1,
            0xefbe_4786,
            0x0fc1_9dc6,
            0x240c_a1cc,
            0x2de9_2c6f,
            0x4a74_84aa,
            0x5cb0_a9dc,
            0x76f9_88da,
            0x983e_5152,
            0xa831_c66d,
            0xb003_27c8,
            0xbf59_7fc7,
            0xc6e0_0bf3,
            0xd5a7_9147,
            0x06ca_6351,
            0x1429_2967,
        ],
        [
            0x27b7_0a85,
            0x2e1b_2138,
            0x4d2c_6dfc,
            0x5338_0d13,
            0x650a_7354,
            0x766a_0abb,
            0x81c2_c92e,
            0x9272_2c85,
            0xa2bf_e8a1,
            0xa81a_664b,
            0xc24b_8b70,
            0xc76c_51a3,
            0xd192_e819,
            0xd699_0624,
            0xf40e_3585,
            0x106a_a070,
        ],
        [
            0x19a4_c116,
            0x1e37_6c08,
            0x2748_774c,
            0x34b0_bcb5,
            0x391c_0cb3,
            0x4ed8_aa4a,
            0x5b9c_ca4f,
            0x682e_6ff3,
            0x748f_82ee,
            0x78a5_636f,
            0x84c8_7814,
            0x8cc7_0208,
            0x90be_fffa,
            0xa450_6ceb,
            0xbef9_a3f7,
            0xc671_78f2,
        ],
    ];

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn hash(messages: &[Blocks<'_>; LANES], digests: &mut [[u8; 32]; LANES]) {
        let mut state = INITIAL.map(|word| _mm512_set1_epi32(word as i32));
        let most = messages.iter().map(Blocks::count).max().unwrap_or(0);
        for index in 0..most {
            let mut unfinished = 0;
            for (lane, message) in messages.iter().enumerate() {
                unfinished |= u16::from(index < message.count()) << lane;
            }
            let blocks = messages.each_ref().map(|message| message.get(index).unwrap_or(&[0; BLOCK]));
            compress(&mut state, transposed(blocks.map(|block| big_endian(loaded(block)))), unfinished);
        }
        let mut rows = [_mm512_setzero_si512(); 16];
        for (row, words) in rows.iter_mut().zip(state) {
            *row = words;
        }
        for (digest, row) in digests.iter_mut().zip(transposed(rows)) {
            let row = _mm512_castsi512_si256(big_endian(row));
            let (low, high) = (_mm256_castsi256_si128(row), _mm256_extracti128_si256::<1>(row));
            let eights = [low, _mm_unpackhi_epi64(low, low), high, _mm_unpackhi_epi64(high, high)];
            for (to, eight) in digest.as_chunks_mut().0.iter_mut().zip(eights) {
                *to = _mm_cvtsi128_si64(eight).to_le_bytes();
            }
        }
    }

    /// Takes in one more block of every lane that is unfinished: a bit for each (FIPS 180-4, 6.2.2).
    #[target_feature(enable = "avx512f,avx512bw")]
    fn compress(state: &mut [Words; 8], mut schedule: [Words; 16], unfinished: u16) {
        /// The sum of three; the numbers of a ternary operation are its truth table.
        const XOR: i32 = 0x96;
        const CHOOSE: i32 = 0xca;
        const MAJORITY: i32 = 0xe8;
        macro_rules! rotated {
            ($word:expr, $first:literal, $second:literal, $third:literal) => {
                _mm512_ternarylogic_epi32::<XOR>(
                    _mm512_ror_epi32::<$first>($word),
                    _mm512_ror_epi32::<$second>($word),
                    _mm512_ror_epi32::<$third>($word),
                )
            };
        }
        macro_rules! mixed {
            ($word:expr, $first:literal, $second:literal, $shift:literal) => {
                _mm512_ternarylogic_epi32::<XOR>(
                    _mm512_ror_epi32::<$first>($word),
                    _mm512_ror_epi32::<$second>($word),
                    _mm512_srli_epi32::<$shift>($word),
                )
            };
        }
        let mut working = *state;
        for (group, constants) in ROUNDS.iter().enumerate() {
            if group > 0 {
                for at in 0..16 {
                    let before = |back: usize| schedule[(at + 16 - back) % 16];
                    let new = _mm512_add_epi32(
                        _mm512_add_epi32(before(16), mixed!(before(15), 7, 18, 3)),
                        _mm512_add_epi32(before(7), mixed!(before(2), 17, 19, 10)),
                    );
                    schedule[at] = new;
                }
            }
            for (word, constant) in schedule.iter().zip(constants) {
                let [a, b, c, d, e, f, g, h] = working;
                let word = _mm512_add_epi32(*word, _mm512_set1_epi32(*constant as i32));
                let chosen = _mm512_add_epi32(_mm512_ternarylogic_epi32::<CHOOSE>(e, f, g), word);
                let first = _mm512_add_epi32(_mm512_add_epi32(h, rotated!(e, 6, 11, 25)), chosen);
                let second = _mm512_add_epi32(rotated!(a, 2, 13, 22), _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c));
                working = [_mm512_add_epi32(first, second), a, b, c, _mm512_add_epi32(d, first), e, f, g];
            }
        }
        for (state, working) in state.iter_mut().zip(working) {
            *state = _mm512_mask_add_epi32(*state, unfinished, *state, working);
        }
    }

    /// Sixteen rows of sixteen words with rows and columns exchanged.
    #[target_feature(enable = "avx512f,avx512bw")]
    fn transposed(rows: [Words; 16]) -> [Words; 16] {
        // In each quarter of a vector: pairs of rows, then fours of rows, then the quarters change places.
        let mut pairs = rows;
        for (pair, rows) in pairs.as_chunks_mut::<2>().0.iter_mut().zip(rows.as_chunks::<2>().0) {
            *pair = [_mm512_unpacklo_epi32(rows[0], rows[1]), _mm512_unpackhi_epi32(rows[0], rows[1])];
        }
        let mut fours = pairs;
        for (four, pairs) in fours.as_chunks_mut::<4>().0.iter_mut().zip(pairs.as_chunks::<4>().0) {
            *four = [
                _mm512_unpacklo_epi64(pairs[0], pairs[2]),
                _mm512_unpackhi_epi64(pairs[0], pairs[2]),
                _mm512_unpacklo_epi64(pairs[1], pairs[3]),
                _mm512_unpackhi_epi64(pairs[1], pairs[3]),
            ];
        }
        let mut words = fours;
        for column in 0..4 {
            let [first, second, third, fourth] = [0, 4, 8, 12].map(|four| fours[four + column]);
            let even = _mm512_shuffle_i32x4::<0x88>(first, second);
            let odd = _mm512_shuffle_i32x4::<0xdd>(first, second);
            let even_below = _mm512_shuffle_i32x4::<0x88>(third, fourth);
            let odd_below = _mm512_shuffle_i32x4::<0xdd>(third, fourth);
            words[column] = _mm512_shuffle_i32x4::<0x88>(even, even_below);
            words[4 + column] = _mm512_shuffle_i32x4::<0x88>(odd, odd_below);
            words[8 + column] = _mm512_shuffle_i32x4::<0xdd>(even, even_below);
            words[12 + column] = _mm512_shuffle_i32x4::<0xdd>(odd, odd_below);
        }
        words
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn loaded(block: &[u8; BLOCK]) -> Words {
        let (eights, _) = block.as_chunks::<8>();
        let word = |index: usize| i64::from_le_bytes(eights[index]);
        _mm512_set_epi64(word(7), word(6), word(5), word(4), word(3), word(2), word(1), word(0))
    }

    /// Words whose bytes are turned around.
    #[target_feature(enable = "avx512f,avx512bw")]
    fn big_endian(words: Words) -> Words {
        let order = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
        _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(order))
    }
}
