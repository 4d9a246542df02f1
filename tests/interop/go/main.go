// tarfolder writes a folder as a tar with Go's archive/tar.
//
//	tarfolder ustar|gnu|pax FOLDER > TAR
//
// With pax every entry gets vendor records as hcsshim writes them. Files with several names become hard links.
package main

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

var formats = map[string]tar.Format{"ustar": tar.FormatUSTAR, "gnu": tar.FormatGNU, "pax": tar.FormatPAX}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	format, folder := formats[os.Args[1]], os.Args[2]
	writer := tar.NewWriter(os.Stdout)
	first := map[uint64]string{}
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == folder {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		return add(writer, format, path, name, first)
	})
	if err != nil {
		return err
	}
	return writer.Close()
}

func add(writer *tar.Writer, format tar.Format, path, name string, first map[uint64]string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	target := ""
	if info.Mode()&os.ModeSymlink != 0 {
		if target, err = os.Readlink(path); err != nil {
			return err
		}
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	header.Name, header.Format = name, format
	header.ModTime = header.ModTime.Truncate(time.Second)
	header.AccessTime, header.ChangeTime = time.Time{}, time.Time{}
	if format == tar.FormatPAX {
		attributes := "32"
		if info.IsDir() {
			attributes = "16"
		} else if target != "" {
			attributes = "1024"
		}
		header.PAXRecords = map[string]string{
			"MSWINDOWS.fileattr":      attributes,
			"LIBARCHIVE.creationtime": "1577836800.1234567",
		}
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && info.Mode().IsRegular() && stat.Nlink > 1 {
		if other, known := first[stat.Ino]; known {
			header.Typeflag, header.Linkname, header.Size = tar.TypeLink, other, 0
		} else {
			first[stat.Ino] = name
		}
	}
	if err := writer.WriteHeader(header); err != nil || header.Typeflag != tar.TypeReg {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(writer, file)
	return err
}
