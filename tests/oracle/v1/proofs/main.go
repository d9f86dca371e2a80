// proofs answers queries with proofs, as a node does: rootmulti of store v1.1.1 over a goleveldb database, which is not changed.
//
//	proofs -from application.db < queries > answers
//
// A query is a line `VERSION STORE KEY`, the key in hex; queries of one version stand together. An answer is
// u8 is there, then u32le(len) and the bytes of value and ProofOps (protobuf tendermint.crypto.ProofOps).
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"log"
	"os"

	sdklog "cosmossdk.io/log"
	"cosmossdk.io/store/metrics"
	"cosmossdk.io/store/rootmulti"
	"cosmossdk.io/store/types"
	dbm "github.com/cosmos/cosmos-db"

	"oracle/v1/internal/v1"
)

func main() {
	log.SetFlags(0)
	from := flag.String("from", "", "store/v1 database, a goleveldb directory NAME.db")
	flag.Parse()
	db, err := v1.OpenReadOnly(*from)
	check(err)
	defer db.Close()
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	var rs *rootmulti.Store
	var at int64
	for in.Scan() {
		var version int64
		var store, text string
		_, err := fmt.Sscanf(in.Text(), "%d %s %s", &version, &store, &text)
		check(err)
		key, err := hex.DecodeString(text)
		check(err)
		if version != at {
			rs, err = load(db, version)
			check(err)
			at = version
		}
		res, err := rs.Query(&types.RequestQuery{Path: "/" + store + "/key", Data: key, Height: version, Prove: true})
		check(err)
		if res.Height != version {
			check(fmt.Errorf("asked for version %d, answered for %d", version, res.Height))
		}
		ops, err := res.ProofOps.Marshal()
		check(err)
		there := byte(0)
		if res.Value != nil {
			there = 1
		}
		out.WriteByte(there)
		for _, field := range [][]byte{res.Value, ops} {
			out.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(field))))
			out.Write(field)
		}
	}
	check(in.Err())
	check(out.Flush())
}

// load opens the stores of a version. Without the fast index, which it would bring up to date otherwise: in a database that is open for
// reading only.
func load(db dbm.DB, version int64) (*rootmulti.Store, error) {
	rs := rootmulti.NewStore(db, sdklog.NewNopLogger(), metrics.NewNoOpMetrics())
	info, err := rs.GetCommitInfo(version)
	if err != nil {
		return nil, err
	}
	rs.SetIAVLDisableFastNode(true)
	for _, s := range info.StoreInfos {
		if s.CommitId.Version > 0 { // cosmos-sdk v0.46 names memory stores too
			rs.MountStoreWithDB(types.NewKVStoreKey(s.Name), types.StoreTypeIAVL, nil)
		}
	}
	return rs, rs.LoadVersion(version)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
