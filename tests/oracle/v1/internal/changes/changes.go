// Package changes is what the programs that break databases share: how a changed record is told, and a version written ahead.
package changes

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/cosmos/iavl"

	"oracle/v1/internal/records"
)

// Change is one record before and after.
type Change struct {
	Key  string  `json:"key"`            // whole database key, hex
	Text string  `json:"text,omitempty"` // the same, readable
	Was  *string `json:"was"`
	Now  *string `json:"now"`
}

// Of is the change of a whole database key; nil is a record that is not there. Of longer values the first most bytes are told.
func Of(key, was, now []byte, most int) Change {
	return Change{Key: hex.EncodeToString(key), Text: readable(key), Was: shown(was, most), Now: shown(now, most)}
}

func shown(b []byte, most int) *string {
	if b == nil {
		return nil
	}
	s := hex.EncodeToString(b[:min(len(b), most)])
	if len(b) > most {
		s += fmt.Sprintf("... (%d bytes)", len(b))
	}
	return &s
}

func readable(k []byte) string {
	if n := len(k); n > 13 && bytes.HasPrefix(k, []byte("s/k:")) && k[n-14] == '/' {
		if r, ok := records.ParseKey(k[n-13:]); ok {
			return fmt.Sprintf("%s s (%d,%d)", k[:n-13], r.Version, r.Nonce)
		}
	}
	for _, c := range k {
		if c < ' ' || c > '~' {
			return ""
		}
	}
	return string(k)
}

// SaveNext saves one more version of a tree with the IAVL code, with some keys set anew and some added, and closes it.
func SaveNext(t *iavl.MutableTree) (hash []byte, version int64, err error) {
	var keys [][]byte
	if _, err := t.Iterate(func(k, _ []byte) bool {
		keys = append(keys, bytes.Clone(k))
		return false
	}); err != nil {
		return nil, 0, err
	}
	for i := 0; i < len(keys); i += 1 + len(keys)/5 {
		if _, err := t.Set(keys[i], []byte(fmt.Sprintf("written ahead %d", i))); err != nil {
			return nil, 0, err
		}
	}
	for i := 0; i < 3; i++ {
		if _, err := t.Set([]byte(fmt.Sprintf("ahead key %d", i)), []byte("new")); err != nil {
			return nil, 0, err
		}
	}
	hash, version, err = t.SaveVersion()
	if err != nil {
		return nil, 0, err
	}
	return hash, version, t.Close()
}

// Between gives the changes from one state of a store to another, in key order; keys come without the store's prefix.
func Between(prefix []byte, was, now map[string][]byte, most int) []Change {
	keys := map[string]bool{}
	for k := range was {
		keys[k] = true
	}
	for k := range now {
		keys[k] = true
	}
	var out []Change
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		a, b := record(was, k), record(now, k)
		if (a == nil) != (b == nil) || !bytes.Equal(a, b) {
			out = append(out, Of(append(bytes.Clone(prefix), k...), a, b, most))
		}
	}
	return out
}

// record is not nil if it is there, empty as it may be.
func record(of map[string][]byte, key string) []byte {
	value, ok := of[key]
	if ok && value == nil {
		return []byte{}
	}
	return value
}
