//go:build !rocksdb

package v1

import (
	"errors"

	dbm "github.com/cosmos/cosmos-db"
)

func openRocksBuffered(string, int) (dbm.DB, error) {
	return nil, errors.New("built without RocksDB: see rocks.sh")
}
