"""Clinical record, validated risk scores and tables of patients."""
