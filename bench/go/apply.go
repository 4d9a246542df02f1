// apply unpacks a layer blob as container engines written in Go do: one pass over archive/tar, with the digest of the
// blob and of the tar inside it (the DiffID) taken on the way and compared at the end.
//
// usage: apply BLOB DIR BLOB-SHA256 TAR-SHA256
//
// For each entry: the name is cleaned and must stay below DIR, missing parents are made, what is in the way is removed,
// a whiteout removes its victim; then the entry is made, and gets its owner, mode and times. Times of folders come last.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// newZstd is set where a zstd decoder was built in.
var newZstd func(io.Reader) (io.Reader, error)

const whiteout = ".wh."

func inflate(blob *bufio.Reader) (io.Reader, error) {
	head, err := blob.Peek(4)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(head[:2], []byte{0x1f, 0x8b}) {
		return gzip.NewReader(blob)
	}
	if !bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		return blob, nil
	}
	if newZstd == nil {
		return nil, fmt.Errorf("built without zstd")
	}
	return newZstd(blob)
}

func timespec(t time.Time) syscall.Timespec {
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	return syscall.NsecToTimespec(t.UnixNano())
}

func setTimes(path string, header *tar.Header) error {
	times := [2]syscall.Timespec{timespec(header.AccessTime), timespec(header.ModTime)}
	name, err := syscall.BytePtrFromString(path)
	if err != nil {
		return err
	}
	const atCwd, noFollow = -0x64, 0x100
	_, _, failure := syscall.Syscall6(syscall.SYS_UTIMENSAT, uintptr(atCwd&(1<<64-1)), uintptr(unsafe.Pointer(name)),
		uintptr(unsafe.Pointer(&times[0])), noFollow, 0, 0)
	if failure != 0 {
		return failure
	}
	return nil
}

func remove(root, path, base string) error {
	victim := filepath.Join(filepath.Dir(path), base[len(whiteout):])
	if !strings.HasPrefix(victim, root+"/") {
		return fmt.Errorf("%s is outside", victim)
	}
	return os.RemoveAll(victim)
}

func create(root, path string, header *tar.Header, content io.Reader, buffer []byte) error {
	mode := os.FileMode(header.Mode).Perm()
	switch header.Typeflag {
	case tar.TypeDir:
		if found, err := os.Lstat(path); err != nil || !found.IsDir() {
			if err := os.Mkdir(path, mode|0o700); err != nil {
				return err
			}
		}
	case tar.TypeReg:
		file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode|0o600)
		if err != nil {
			return err
		}
		// Without this type io.CopyBuffer would ignore the buffer.
		if _, err := io.CopyBuffer(struct{ io.Writer }{file}, content, buffer); err != nil {
			file.Close()
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	case tar.TypeLink:
		target := filepath.Join(root, header.Linkname)
		if !strings.HasPrefix(target, root+"/") {
			return fmt.Errorf("%s leads outside", header.Name)
		}
		// The name shares everything with its target.
		return os.Link(target, path)
	case tar.TypeSymlink:
		if err := os.Symlink(header.Linkname, path); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s has the type %q", header.Name, header.Typeflag)
	}
	if err := os.Lchown(path, header.Uid, header.Gid); err != nil && os.Geteuid() == 0 {
		return err
	}
	if header.Typeflag != tar.TypeSymlink {
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	return setTimes(path, header)
}

func apply(archive *tar.Reader, root string) error {
	var folders []*tar.Header
	buffer := make([]byte, 32<<10)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		header.Name = filepath.Clean(header.Name)
		path := filepath.Join(root, header.Name)
		if inside, err := filepath.Rel(root, path); err != nil || strings.HasPrefix(inside, "../") {
			return fmt.Errorf("%s is outside", header.Name)
		}
		if parent := filepath.Dir(path); parent != root {
			if _, err := os.Lstat(parent); os.IsNotExist(err) {
				if err := os.MkdirAll(parent, 0o755); err != nil {
					return err
				}
			}
		}
		if base := filepath.Base(path); strings.HasPrefix(base, whiteout) {
			if err := remove(root, path, base); err != nil {
				return err
			}
			continue
		}
		if found, err := os.Lstat(path); err == nil && !(found.IsDir() && header.Typeflag == tar.TypeDir) {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
		if err := create(root, path, header, archive, buffer); err != nil {
			return err
		}
		if header.Typeflag == tar.TypeDir {
			folders = append(folders, header)
		}
	}
	for _, header := range folders {
		if err := setTimes(filepath.Join(root, header.Name), header); err != nil {
			return err
		}
	}
	return nil
}

func check(what string, state hash.Hash, promised string) error {
	if actual := hex.EncodeToString(state.Sum(nil)); actual != promised {
		return fmt.Errorf("the digest of the %s is %s, not %s", what, actual, promised)
	}
	return nil
}

func run(path, root, blobDigest, tarDigest string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	blobHash, tarHash := sha256.New(), sha256.New()
	blob := bufio.NewReaderSize(io.TeeReader(file, blobHash), 1<<20)
	plain, err := inflate(blob)
	if err != nil {
		return err
	}
	tee := io.TeeReader(plain, tarHash)
	if err := apply(tar.NewReader(tee), root); err != nil {
		return err
	}
	for _, rest := range []io.Reader{tee, blob} {
		if _, err := io.Copy(io.Discard, rest); err != nil {
			return err
		}
	}
	if err := check("blob", blobHash, blobDigest); err != nil {
		return err
	}
	return check("tar", tarHash, tarDigest)
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: apply BLOB DIR BLOB-SHA256 TAR-SHA256")
		os.Exit(2)
	}
	root, err := filepath.Abs(os.Args[2])
	if err == nil {
		err = run(os.Args[1], root, os.Args[3], os.Args[4])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "apply:", err)
		os.Exit(1)
	}
}
