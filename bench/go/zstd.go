//go:build zstd

package main

import (
	"io"

	"github.com/klauspost/compress/zstd"
)

func init() {
	newZstd = func(source io.Reader) (io.Reader, error) {
		return zstd.NewReader(source)
	}
}
