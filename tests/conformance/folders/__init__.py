"""Cases made by running hcsshim and go-winio over a stand-in for NTFS: whole imports and exports of layers."""
