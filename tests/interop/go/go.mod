module tarfolder

go 1.19
