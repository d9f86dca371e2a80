// convert copies every pair of a goleveldb database into a database of another engine, as cosmos-db opens it.
package main

import (
	"flag"
	"fmt"
	"log"
	"path/filepath"
	"strings"

	dbm "github.com/cosmos/cosmos-db"

	"oracle/v1/internal/v1"
)

// Pairs of a batch.
const batchPairs = 1000

func main() {
	log.SetFlags(0)
	from := flag.String("from", "", "the goleveldb directory, NAME.db; it is not changed")
	to := flag.String("to", "", "the directory to make, NAME.db")
	backend := flag.String("backend", "pebbledb", "engine of the copy")
	flag.Parse()
	source, err := v1.OpenReadOnly(*from)
	check(err)
	name, ok := strings.CutSuffix(filepath.Base(filepath.Clean(*to)), ".db")
	if !ok {
		log.Fatalf("%s: the name must end in .db", *to)
	}
	target, err := dbm.NewDB(name, dbm.BackendType(*backend), filepath.Dir(filepath.Clean(*to)))
	check(err)
	pairs, err := source.Iterator(nil, nil)
	check(err)
	count, batch := 0, target.NewBatch()
	for ; pairs.Valid(); pairs.Next() {
		check(batch.Set(pairs.Key(), pairs.Value()))
		if count++; count%batchPairs == 0 {
			check(batch.Write())
			check(batch.Close())
			batch = target.NewBatch()
		}
	}
	check(pairs.Error())
	check(batch.WriteSync())
	check(batch.Close())
	check(target.Close())
	check(source.Close())
	fmt.Println(count, "pairs")
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
