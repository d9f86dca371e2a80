package main

import (
	"bytes"
	"fmt"
	"slices"
	"sort"

	"cosmossdk.io/store/types"
	gogotypes "github.com/cosmos/gogoproto/types"
)

// Faults in commit infos and in s/latest.

var infoKinds = []kind{
	{name: "missing-commit-info", finding: "missing-commit-info", help: "the commit info of the version is deleted", database: missingInfo},
	{name: "missing-old-commit-info", finding: "missing-commit-info", help: "the commit info of an older version is deleted, the trees are there", sound: sound, database: missingOldInfo},
	{name: "garbled-commit-info", finding: "bad-commit-info", help: "the commit info of the version is cut off", database: garbledInfo},
	{name: "commit-info-version", finding: "bad-commit-info", help: "the commit info says another version than its key", database: infoVersion},
	{name: "wrong-commit-hash", finding: "wrong-commit-hash", help: "the commit info has another root hash for a store", tree: wrongCommitHash},
	{name: "unknown-store", finding: "missing-store", help: "the commit info names a store that has no records", database: unknownStore},
	{name: "duplicate-store", finding: "bad-commit-info", help: "the commit info names a store twice", tree: duplicateStore},
	{name: "latest-ahead", finding: "latest-ahead", help: "s/latest is a version that nothing else knows", database: latestAhead},
	{name: "latest-behind", finding: "store-ahead", help: "s/latest is two versions before what all stores and commit infos have", sound: sound, database: latestBehind},
	{name: "latest-missing", finding: "missing-latest", help: "there is no s/latest", database: latestMissing},
	{name: "latest-garbled", finding: "bad-latest", help: "s/latest is no protobuf integer", database: latestGarbled},
}

func (j *job) noteInfo() { j.out.Version, j.out.Expect.Versions = j.version, []int64{j.version} }

func missingInfo(j *job) error {
	j.noteInfo()
	j.out.Go = "no version can be loaded"
	j.out.Note = "nothing says which stores the version has, nor its hashes"
	return j.put(infoKey(j.version), nil)
}

func missingOldInfo(j *job) error {
	vs, err := j.committed()
	if err != nil {
		return err
	}
	if vs = slices.DeleteFunc(vs, func(v int64) bool { return v >= j.out.Latest || v < j.out.Latest-1 }); len(vs) == 0 {
		return unfit("no older version")
	}
	j.version = vs[0]
	j.noteInfo()
	j.out.Go = "the version cannot be loaded, others can"
	j.out.Note = "versions before it have theirs"
	return j.put(infoKey(j.version), nil)
}

func garbledInfo(j *job) error {
	b, err := j.db.Get(infoKey(j.version))
	if err != nil || len(b) < 20 {
		return unfit("no commit info of version %d (%v)", j.version, err)
	}
	j.noteInfo()
	j.out.Go = "no version can be loaded"
	return j.put(infoKey(j.version), bytes.Clone(b[:len(b)/2+j.r.Intn(len(b)/4)]))
}

func infoVersion(j *job) error {
	ci, err := j.commitInfo(j.version)
	if err != nil {
		return err
	}
	ci.Version--
	b, err := ci.Marshal()
	if err != nil {
		return err
	}
	j.noteInfo()
	j.out.Go = "counts on from the version in the record"
	j.out.Note = fmt.Sprintf("it says version %d", ci.Version)
	return j.put(infoKey(j.version), b)
}

func wrongCommitHash(j *job) error {
	ci, err := j.commitInfo(j.version)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(ci.StoreInfos, func(s types.StoreInfo) bool { return s.Name == j.store })
	if i < 0 || len(ci.StoreInfos[i].CommitId.Hash) == 0 {
		return unfit("store %s is not in the commit info", j.store)
	}
	ci.StoreInfos[i].CommitId.Hash = j.flip(ci.StoreInfos[i].CommitId.Hash)
	j.noteStore()
	j.noteInfo()
	j.out.Go = "nothing: the new commit info is made of the trees"
	j.out.Note = fmt.Sprintf("the tree is whole and has another root; app hash by the record %x", ci.Hash())
	return j.putCommitInfo(ci)
}

func unknownStore(j *job) error {
	ci, err := j.commitInfo(j.version)
	if err != nil {
		return err
	}
	var hash []byte
	for _, s := range ci.StoreInfos {
		if len(s.CommitId.Hash) > 0 {
			hash = s.CommitId.Hash
		}
	}
	name := fmt.Sprintf("phantom%d", j.r.Intn(100))
	ci.StoreInfos = append(ci.StoreInfos, types.StoreInfo{Name: name, CommitId: types.CommitID{Version: j.version, Hash: hash}})
	sort.SliceStable(ci.StoreInfos, func(a, b int) bool { return ci.StoreInfos[a].Name < ci.StoreInfos[b].Name })
	j.store = name
	j.noteStore()
	j.noteInfo()
	j.out.Go = "loading fails: the store has no such version"
	return j.putCommitInfo(ci)
}

func duplicateStore(j *job) error {
	ci, err := j.commitInfo(j.version)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(ci.StoreInfos, func(s types.StoreInfo) bool { return s.Name == j.store })
	ci.StoreInfos = slices.Insert(ci.StoreInfos, i, ci.StoreInfos[i])
	j.noteStore()
	j.noteInfo()
	j.out.Go = "nothing: names are a map"
	return j.putCommitInfo(ci)
}

func (j *job) putLatest(v int64) error {
	b, err := gogotypes.StdInt64Marshal(v)
	if err != nil {
		return err
	}
	return j.put([]byte("s/latest"), b)
}

func latestAhead(j *job) error {
	j.version += int64(1 + j.r.Intn(3))
	j.noteInfo()
	j.out.Expect.Latest = 0
	j.out.Go = "no version can be loaded"
	j.out.Note = fmt.Sprintf("commit infos and trees end at version %d", j.out.Latest)
	return j.putLatest(j.version)
}

func latestBehind(j *job) error {
	j.version -= 2
	if _, err := j.commitInfo(j.version); err != nil {
		return unfit("no version %d", j.version)
	}
	names, err := j.stores(j.version)
	if err != nil {
		return err
	}
	for _, j.store = range names {
		if vs, err := j.versions(); err != nil || !slices.Contains(vs, j.version) {
			return unfit("store %s has no version %d (%v)", j.store, j.version, err)
		}
	}
	j.store, j.out.Expect.Stores = "", names
	j.out.Version, j.out.Expect.Latest = j.version, j.version
	j.out.Go = "loads s/latest; committing again fails unless the changes are the same"
	j.out.Note = "after a rollback of the pointer, or a copy whose newest file is older than the others; every store is ahead, and the migrated version is s/latest"
	return j.putLatest(j.version)
}

func latestMissing(j *job) error {
	j.out.Expect.Latest = 0
	j.out.Go = "takes the database for a new one, at version 0"
	return j.put([]byte("s/latest"), nil)
}

func latestGarbled(j *job) error {
	j.out.Expect.Latest = 0
	j.out.Go = "panics"
	return j.put([]byte("s/latest"), []byte{0x08, 0xff, 0xff})
}
